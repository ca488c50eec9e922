"""``.env.example`` lists what is read, with the default that is used, and nothing else."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
ELSEWHERE = {"QT_DATA_DIR": ".data", "PORT": "8000", "FLOWER_PORT": "5555", "FLOWER_ADDRESS": "127.0.0.1"}
"""Read by runtime and by Flower's launcher rather than by the settings."""


def listed() -> dict[str, str]:
    lines = (PROJECT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def read() -> dict[str, str]:
    """The variables of the settings module with their defaults, found in its syntax tree."""
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse((PROJECT / "config/settings/base.py").read_text())):
        if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
            continue
        name = node.args[0].value
        if isinstance(node.func, ast.Name) and node.func.id == "_decimal":
            found[name] = ast.literal_eval(node.args[1])
        elif isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "env":
            default = next(keyword.value for keyword in node.keywords if keyword.arg == "default")
            found[name] = "" if isinstance(default, ast.JoinedStr) else shown(ast.literal_eval(default))
    return found


def test_what_is_read_is_listed_with_its_default_and_nothing_else_is() -> None:
    assert listed() == {**read(), **ELSEWHERE}


def test_every_line_is_explained() -> None:
    lines = (PROJECT / ".env.example").read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"[A-Z_]+=", line):
            assert lines[number - 1].startswith("# "), line


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
    return loaded


def test_compose_runs_what_the_procfile_does(compose: dict[str, Any]) -> None:
    procfile = dict(line.split(": ", 1) for line in (PROJECT / "Procfile").read_text().splitlines() if line)
    services = compose["services"]
    assert set(procfile) <= set(services)
    for name in ("worker", "bulk", "beat", "gateway", "flower"):
        assert services[name]["command"] == procfile[name].split()
    web = procfile["web"].replace("127.0.0.1", "0.0.0.0").replace("$PORT", "8000").split()
    assert services["web"]["command"] == web


def test_compose_restarts_checks_and_publishes_on_loopback_alone(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if name == "migrate":
            continue
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"], name
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name
    for name in ("postgres", "redis"):
        assert "ports" not in compose["services"][name]


def test_compose_has_no_password_of_its_own(compose: dict[str, Any]) -> None:
    text = (PROJECT / "docker-compose.yml").read_text()
    for name in ("SECRET_KEY", "JWT_SECRET", "POSTGRES_PASSWORD", "FLOWER_BASIC_AUTH", "QT_ADMIN_TOKEN"):
        assert re.search(rf"\$\{{{name}:\?", text), name


def test_compose_keeps_one_audit_mirror_for_all_processes(compose: dict[str, Any]) -> None:
    for name in ("web", "worker", "bulk", "beat"):
        service = compose["services"][name]
        folder = service["environment"]["QT_ADMIN_AUDIT_PATH"].rpartition("/")[0]
        assert f"audit:{folder}" in service["volumes"], name
    assert "audit" in compose["volumes"]
    assert f"--mode=700 {folder}" in (PROJECT / "Dockerfile").read_text()
