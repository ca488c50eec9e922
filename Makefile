# The two commands: `make run` and `make test`. The rest is named by `make help`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help install run test oracles drill races drill-orders machines fuzz bench lock doctor screenshots clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

install: ## the environment of a developer, in .venv
	@$(PYTHON) runtime/install.py requirements/dev.txt

run: ## start everything: database, broker, pages, workers, schedule, Flower
	@$(PYTHON) runtime/install.py requirements/base.txt
	@$(BIN)/python -m runtime.up

test: install ## what must pass: lint, types, imports, migrations, tests
	@$(BIN)/python -m runtime.check

oracles: ## compare the numbers with other libraries, in an environment of their own
	@$(PYTHON) runtime/install.py requirements/oracles.txt .oracles
	@.oracles/bin/pytest -m oracle tests/quant

drill: install ## the long fault drill: 1,000 jobs while processes and servers are killed
	@$(BIN)/python -m tests.faults.drill --jobs 1000
	@$(BIN)/pytest -n 0 -m alone tests

drill-orders: install ## senders of orders killed 50 times at every step, at each venue
	@$(BIN)/python -m tests.faults.orders --rounds 50

races: install ## 100,000 reviews at once of one limit's room, and 10,000 halts while orders are sent
	@$(BIN)/python -m tests.risk.races

machines: install ## one sweep on two data folders, with one worker and two, one killed: equal manifests
	@$(BIN)/python -m benchmarks.sweep --kill --points 3600

fuzz: install ## longer property tests and fuzzing of the API
	@HYPOTHESIS_PROFILE=fuzz $(BIN)/pytest -n 4 --timeout 1200 -m '(hypothesis or fuzz) and not faults and not browser' tests

bench: install ## the benchmarks
	@$(BIN)/python -m benchmarks.jobs
	@$(BIN)/python -m benchmarks.perf_run
	@$(BIN)/python -m benchmarks.sweep
	@$(PYTHON) runtime/install.py requirements/oracles.txt .oracles
	@.oracles/bin/python -m benchmarks.statistics
	@.oracles/bin/python -m benchmarks.backtests

lock: install ## compile requirements/*.in into pinned, hashed *.txt
	@$(BIN)/python -m runtime.lock

doctor: ## check this deployment and name a fix for each finding
	@$(PYTHON) runtime/install.py requirements/base.txt
	@$(BIN)/python manage.py doctor

screenshots: install ## the pictures of README and docs, taken from a running platform
	@$(BIN)/python -m tests.browser.screenshots

clean: ## delete the environment, caches and built files; the data folder stays
	@rm -rf .venv .oracles .boot staticfiles .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
