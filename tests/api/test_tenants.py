"""Onboarding, brokers, parameters and settings, asked by those who may: past the door the description must hold too."""

from typing import Any

import pytest
import schemathesis
from django.conf import settings as platform
from django.core.wsgi import get_wsgi_application
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from pytest_django import Settings

from tests.api.test_schema import CHECKS, EXAMPLES
from trading.tenants.models import Client, Role, User
from trading.tenants.tokens import issue_access_token

schema = schemathesis.openapi.from_wsgi("/api/schema?format=json", get_wsgi_application())
MINE = r"^/(clients/onboard|clients/\{client_id\}/(connect-broker|agent/parameters)|settings)$"


def caller(case: Any) -> dict[str, str]:
    """The headers of somebody who may; the client of the path is theirs."""
    if "{client_id}" not in case.path:
        key = {"X-Admin-Key": platform.ADMIN_API_KEY} if case.path.endswith("onboard") else None
        return key or {"X-Admin-Token": platform.QT_ADMIN_TOKEN}
    client, _ = Client.objects.get_or_create(name="Desk")
    owner, _ = User.objects.get_or_create(username="owner", defaults={"client": client, "role": Role.OWNER})
    case.path_parameters = {"client_id": str(client.id)}
    return {"Authorization": f"Bearer {issue_access_token(owner)}"}


@pytest.mark.django_db(transaction=True)
@schema.include(path_regex=MINE).parametrize()
@hypothesis_settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_whatever_they_send_the_answer_is_one_of_those_described(case: schemathesis.Case, settings: Settings) -> None:
    settings.QT_RATE_USER = settings.QT_RATE_CLIENT = settings.QT_RATE_ADDRESS = settings.QT_RATE_REFUSED = 0
    case.headers.pop("Authorization", None)
    case.validate_response(case.call(headers=caller(case)), checks=CHECKS)


def test_all_of_them_are_asked() -> None:
    operations = [result.ok().label for result in schema.include(path_regex=MINE).get_all_operations()]
    assert len(operations) == 6, operations
