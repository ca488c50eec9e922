"""Secrets: all that is wrong is said at once, and what is missing is added without touching what is there."""

import re
from pathlib import Path

import pytest

from runtime import secrets

GOOD = "Zk3vQ9xT1mB7nH5cR8wL2yD6fJ4sA0pG"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*secrets.CRITICAL, secrets.FLOWER):
        monkeypatch.delenv(name, raising=False)


def test_every_problem_is_named_at_once() -> None:
    environment = dict.fromkeys(secrets.CRITICAL, GOOD)
    assert secrets.problems(environment) == []
    environment |= {"JWT_SECRET": "short", "SECRET_KEY": "a" * 40, "CRON_SECRET": "change-me-" + GOOD}
    del environment["ADMIN_API_KEY"]
    with pytest.raises(SystemExit) as ended:
        secrets.require(environment)
    said = str(ended.value)
    named = set(re.findall(r"^  - ([A-Z_]+) ", said, re.MULTILINE))
    assert named == {"JWT_SECRET", "SECRET_KEY", "CRON_SECRET", "ADMIN_API_KEY"}
    assert "too short: 5 characters" in said
    assert "openssl rand" in said
    assert GOOD not in said


def test_no_value_is_printed() -> None:
    weak = "password-of-the-production"
    with pytest.raises(SystemExit) as ended:
        secrets.require({"JWT_SECRET": weak})
    assert weak not in str(ended.value)


def test_each_of_several_keys_must_be_good() -> None:
    environment = dict.fromkeys(secrets.CRITICAL, GOOD) | {"ENCRYPTION_KEY": f"{GOOD},short"}
    assert [problem.split()[0] for problem in secrets.problems(environment)] == ["ENCRYPTION_KEY"]


def test_complete_writes_a_file_that_passes_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    written = secrets.complete(path, at_first={"MARKET": "csv"})
    assert set(written) == {*secrets.CRITICAL, secrets.FLOWER}
    assert path.stat().st_mode & 0o777 == 0o600
    values = dict(line.split("=", 1) for line in path.read_text().splitlines())
    assert secrets.problems(values) == []
    assert values["MARKET"] == "csv"
    assert len({values[name] for name in secrets.CRITICAL}) == len(secrets.CRITICAL)
    assert [entry.name for entry in tmp_path.iterdir()] == [".env"]


def test_complete_only_appends(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    before = "# mine\nJWT_SECRET=weak\nexport SECRET_KEY = 'other'\nLAST=1"  # without a newline at its end
    path.write_text(before)
    path.chmod(0o644)
    written = secrets.complete(path, at_first={"MARKET": "csv"})
    text = path.read_text()
    assert text.startswith(before + "\n")
    assert not {"JWT_SECRET", "SECRET_KEY"} & set(written)
    assert "MARKET" not in text  # the file was not new
    assert path.stat().st_mode & 0o777 == 0o600
    assert secrets.complete(path) == []
    assert path.read_text() == text


def test_complete_leaves_out_what_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRON_SECRET", GOOD)
    assert "CRON_SECRET" not in secrets.complete(tmp_path / ".env")
    assert "CRON_SECRET" not in (tmp_path / ".env").read_text()
