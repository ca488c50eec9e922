"""The OpenAPI description, and whether the API keeps to it whatever it is sent."""

import os

import pytest
import schemathesis
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from trading.jobs import processes

EXAMPLES = 400 if os.environ.get("HYPOTHESIS_PROFILE") == "fuzz" else 20
PATHS = {
    "/auth/login",
    "/auth/refresh",
    "/auth/logout",
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

schema = schemathesis.openapi.from_wsgi("/api/schema?format=json", get_wsgi_application())


def test_every_route_is_described() -> None:
    assert set(schema.raw_schema["paths"]) >= PATHS


@pytest.mark.django_db(transaction=True)
@schema.exclude(path_regex="events$").parametrize()
@hypothesis_settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_whatever_is_sent_the_answer_is_one_of_those_described(case: schemathesis.Case) -> None:
    processes.report("test/worker", kind="worker", code_version="test")  # or /health/ready would rightly be 503
    response = case.call(headers={"X-Cron-Secret": settings.CRON_SECRET})
    case.validate_response(response, checks=CHECKS)
