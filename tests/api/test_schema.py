"""The OpenAPI description, and whether the API keeps to it whatever it is sent."""

import io
import os
import time
from itertools import count
from typing import Any
from uuid import UUID

import pytest
import schemathesis
from django.conf import settings
from django.core.handlers.wsgi import get_path_info
from django.core.wsgi import get_wsgi_application
from django.utils.encoding import escape_uri_path, iri_to_uri
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.security.conftest import signed
from trading.jobs import processes, services
from trading.jobs.models import JobRun
from trading.risk.models import Guard
from trading.tenants.authentication import SECRETS
from trading.tenants.models import Client, Role, User
from trading.tenants.tokens import issue_access_token

PATHS = {
    "/auth/login",
    "/auth/refresh",
    "/auth/logout",
    "/runs",
    "/runs/{run_hash}",
    "/runs/{run_hash}/artifacts",
    "/runs/{run_hash}/artifacts/{name}",
    "/runs/{run_hash}/events",
    "/presets",
    "/presets/{preset_id}",
    "/jobs/runs",
    "/jobs/runs/{run_id}",
    "/jobs/runs/{run_id}/retry",
    "/jobs/runs/{run_id}/cancel",
    "/jobs/runs/{run_id}/events",
    "/internal/tasks/{job}",
    "/clients/onboard",
    "/clients/{client_id}/audit",
    "/clients/{client_id}/connect-broker",
    "/clients/{client_id}/agent/parameters",
    "/settings",
    "/risk",
    "/risk/kill-switch",
    "/risk/reset",
    "/admin/emergency-halt",
    "/health",
    "/health/ready",
    "/health/scheduler",
    "/scheduler/status",
    "/metrics",
    "/__whoami",
    "/__auth_debug",
}

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

DESK = UUID("00000000-0000-7000-8000-00000000d35c")
PASSWORD = "a long enough password"
SENDERS = ("right", "right", "right", "right", "reader", "other", "nobody")
"""Whose credentials a case is sent with: mostly of somebody who may, so that what is behind the door is tried too."""


def signing(application: Any) -> Any:
    """Signs tasks as their sender would, which must know the bytes of the body."""

    def wrapped(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"].startswith("/internal/tasks/") and "HTTP_X_FUZZ_SIGN" in environ:
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
            path = get_path_info(environ)
            query = environ.get("QUERY_STRING")
            target = f"{escape_uri_path(path)}{'?' + iri_to_uri(query) if query else ''}"
            for name, value in signed(target, body, at=time.time() - next(SECONDS) % 290).items():
                environ["HTTP_" + name.upper().replace("-", "_")] = value
        return application(environ, start_response)

    return wrapped


SECONDS = count()
schema = schemathesis.openapi.from_wsgi("/api/schema?format=json", signing(get_wsgi_application()))
schema.config.generation.update(with_security_parameters=False)  # who sends is chosen below
TAKING_INPUT = sum(
    1
    for path in schema.raw_schema["paths"].values()
    for way in path.values()
    if {"parameters", "requestBody"} & set(way)
)
CASES = int(os.environ.get("FUZZ_CASES", "10000"))
EXAMPLES = CASES // TAKING_INPUT + 1 if os.environ.get("HYPOTHESIS_PROFILE") == "fuzz" else 20
"""`make fuzz`: 10,000 in all, spread over the operations that take any input; a few for each in the suite."""


def test_every_route_is_described() -> None:
    assert set(schema.raw_schema["paths"]) >= PATHS


def test_every_operation_says_in_a_line_what_it_does() -> None:
    for path, operations in schema.raw_schema["paths"].items():
        for method, operation in operations.items():
            assert 3 < len(operation.get("summary", "")) <= 160, f"{method} {path}: {operation.get('summary')!r}"


@pytest.fixture
def people(transactional_db: None) -> None:
    """An owner and a reader of one client, the owner of another, and an operator; and what migrations wrote."""
    Guard.objects.get_or_create(id=1)  # a transactional test empties its table
    desk, other = Client.objects.create(id=DESK, name="Desk"), Client.objects.create(name="Other")
    for name, role, client in (
        ("ann", Role.OWNER, desk),
        ("rob", Role.READ_ONLY, desk),
        ("eve", Role.OWNER, other),
        ("op", Role.OPERATOR, None),
    ):
        User.objects.create_user(name, password=PASSWORD, role=role, client=client)


def run_of_desk() -> JobRun:
    """One that its owner may retry and cancel."""
    live = JobRun.objects.filter(client_id=DESK).order_by("-id").first()
    return live or services.enqueue("execution-cycle", client_id=DESK).run


def headers_of(case: schemathesis.Case, sender: str) -> dict[str, str]:
    """The credentials that the description asks for, or another's, or none."""
    asked = {name for way in case.operation.definition.raw.get("security", []) for name in way}
    if sender == "nobody" or not asked:
        return {}
    if "token" in asked or sender != "right":
        name = {"right": "ann", "reader": "rob", "other": "eve"}[sender]
        user = User.objects.select_related("client").get(username=name)
        return {"Authorization": f"Bearer {issue_access_token(user)}"}
    if "task_signature" in asked:
        return {"X-Fuzz-Sign": "1"}
    name, setting = next((name, setting) for name, setting, holder in SECRETS if holder in asked)
    return {name: getattr(settings, setting)}


@pytest.mark.usefixtures("people")
@pytest.mark.timeout(1800)
@schema.exclude(path_regex="events$").parametrize()
@hypothesis_settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_whatever_is_sent_the_answer_is_one_of_those_described(case: schemathesis.Case) -> None:
    if case.path.startswith("/health"):
        processes.report("test/worker", kind="worker", code_version="test")  # or /health/ready would rightly be 503
    turn = next(SECONDS)
    if case.path_parameters and turn % 2:
        for name in case.path_parameters:
            if name == "client_id":
                case.path_parameters[name] = str(DESK)
            elif name == "run_id":
                case.path_parameters[name] = str(run_of_desk().id)
            elif name == "job":
                case.path_parameters[name] = "market-refresh"
    response = case.call(headers=headers_of(case, SENDERS[turn % len(SENDERS)]))
    case.validate_response(response, checks=CHECKS)
