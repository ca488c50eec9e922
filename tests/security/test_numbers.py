"""Numbers that are none, or not what they seem: 422 with the field's name, and nothing stored."""

import json
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client as Http
from rest_framework import serializers

from tests.security.conftest import JSON, bearer, refused, signed
from trading.core.errors import Invalid
from trading.core.parsing import parse
from trading.core.serializers import StrictSerializer
from trading.jobs.models import JobRun
from trading.tenants.models import Client, Parameters, User

TASK = "/internal/tasks/sample-one"


class Order(StrictSerializer):
    """Every kind of field that a request may have."""

    count = serializers.IntegerField(min_value=1, max_value=1000)
    price = serializers.DecimalField(max_digits=20, decimal_places=2, min_value=Decimal("0.01"))
    weight = serializers.FloatField(min_value=0, max_value=1)
    name = serializers.CharField(max_length=10)
    side = serializers.ChoiceField(choices=["buy", "sell"])
    dry = serializers.BooleanField()
    client_id = serializers.UUIDField(required=False)
    at = serializers.DateTimeField(required=False)
    legs = serializers.ListField(child=serializers.IntegerField(), required=False)
    inner = serializers.DictField(required=False)


GOOD = {"count": 1, "price": "12.50", "weight": 0.5, "name": "a", "side": "buy", "dry": False}

WRONG: list[tuple[str, Any]] = [
    *[("count", value) for value in (True, False, "1", 1.0, 1.5, 0, -1, 1001, 10**40, -(10**40), "\u0663",
        [1], {}, "")],
    *[("price", value) for value in (
        True, "NaN", "Infinity", "-Infinity", "sNaN", "1e400", "1e5", "1E2", "-0", "-0.00", -0.0, "0", "-1",
        "0.001", "1_000", "\u0661",
        "12,50", " 12", "12 ", "+1", "0x1", "", ".", "1.", ".5", "--1", "1.2.3", 10**40, "1" + "0" * 40,
        "1" * 200, [1], {},
    )],
    *[("weight", value) for value in (True, "0.5", "NaN", 1.5, -0.1, -0.0, 10**400, [0.5], "\u0660.\u0665")],
    *[("name", value) for value in (1, True, 1.5, ["a"], {"a": 1}, "x" * 11)],
    *[("side", value) for value in ("BUY", 1, True, ["buy"], {}, "")],
    *[("dry", value) for value in (1, 0, "true", "false", "yes", "on", "", [True])],
    *[("client_id", value) for value in (7, 2**128 - 1, True, "x", "\u0661" * 32, ["a"])],
    *[("at", value) for value in (0, 1e12, True, "yesterday", "\u0662\u0660\u0662\u0666-01-01T00:00:00Z",
        "2026-13-01", "0000-00-00")],
    *[("legs", value) for value in ([1, True], ["1"], [1.0], "1", {"0": 1}, [None], [10**400, "x"])],
    *[("inner", value) for value in ([], "x", 1)],
]  # fmt: skip


def faults(change: dict[str, Any]) -> dict[str, Any]:
    given = Order(data={**GOOD, **change})
    return {} if given.is_valid() else dict(given.errors)


def test_good_values_are_taken_as_they_are() -> None:
    given = Order(data={**GOOD, "legs": [1, 2], "client_id": "00000000-0000-7000-8000-000000000001", "inner": {"a": 1}})
    assert given.is_valid(), given.errors
    assert given.validated_data["price"] == Decimal("12.50")
    for price in ("0.01", "999999999999999999.99", "007", 3, 0.1):
        assert faults({"price": price}) == {}, price


@pytest.mark.parametrize(("field", "value"), WRONG, ids=lambda value: repr(value)[:30])
def test_each_is_refused_by_its_field(field: str, value: Any) -> None:
    assert set(faults({field: value})) == {field}


@pytest.mark.parametrize("name", ["Count", "count ", "__proto__", "is_admin", "client", ""])
def test_an_unknown_name_is_refused(name: str) -> None:
    assert set(faults({name: 1})) == {name}


@pytest.mark.parametrize("value", [None, [], "x", 1, True])
def test_a_request_that_is_no_object(value: Any) -> None:
    assert not Order(data=value).is_valid()


@pytest.mark.parametrize(
    "text",
    ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1" * 401, "-" + "9" * 5000, "1e99999999999", "01",
     "+1", ".5", "1.", "0x1",
     "1_000", "\u0661", "True", "undefined", "-", "1e", "0.1.2"],
)  # fmt: skip
def test_json_that_holds_no_number(text: str) -> None:
    for body in (f'{{"a": {text}}}', f'{{"a": [1, {{"b": {text}}}]}}'):
        with pytest.raises(Invalid):
            parse(body.encode())


@pytest.mark.parametrize("text", ["0", "-1", "1e10", "1.5e-7", "1" * 400, "0.1"])
def test_json_that_does(text: str) -> None:
    assert parse(f'{{"a": {text}}}'.encode()) == {"a": json.loads(text)}


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("sample_jobs")
@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e400", "1.5", "true", '"1"', "null", "[1]", "1" * 401])
def test_a_job_s_arguments(text: str) -> None:
    body = f'{{"args": {{"n": {text}}}}}'.encode()
    answer = Http(raise_request_exception=False).post(TASK, body, content_type=JSON, headers=signed(TASK, body))
    detail = refused(answer, 422, "validation_error")
    assert detail["errors"][0]["loc"][0] == "body"
    assert not JobRun.objects.exists()


LIMITS = [
    ("risk", "max_order_size"),
    ("risk", "max_daily_loss"),
    ("risk", "max_gross_exposure"),
    ("strategy", "max_orders"),
]
NO_LIMIT = [
    "NaN", '"NaN"', "Infinity", '"-Infinity"', "1e400", '"1e400"', '"-0"', "-1", '"-1"', "1" + "0" * 40,
    '"1' + "0" * 40 + '"', "true", '"\u0661\u0660"', '"1_000"', '""', "[]", "{}", '"x"', '"0.001"',
]  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize(("group", "field"), LIMITS)
@pytest.mark.parametrize("text", NO_LIMIT, ids=lambda text: text[:20])
def test_a_client_s_limits(http: Http, ann: User, desk: Client, group: str, field: str, text: str) -> None:
    """Where a number that is none would be dearest."""
    path = f"/clients/{desk.pk}/agent/parameters"
    body = f'{{"{group}": {{"{field}": {text}}}}}'
    detail = refused(http.post(path, body.encode(), content_type=JSON, headers=bearer(ann)), 422, "validation_error")
    of_json_itself = text in ("NaN", "Infinity", "1e400")
    assert detail["errors"][0]["loc"] == (["body"] if of_json_itself else ["body", group, field])
    assert not Parameters.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(("group", "field"), LIMITS)
def test_a_limit_that_is_one(http: Http, ann: User, desk: Client, group: str, field: str) -> None:
    body = {group: {field: 3 if field == "max_orders" else "3.50"}}
    path = f"/clients/{desk.pk}/agent/parameters"
    assert http.post(path, body, content_type=JSON, headers=bearer(ann)).status_code == 200
    assert Parameters.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    "limit", ["0", "-1", "201", "1.0", "1e2", "\u0661", "NaN", "", " 1", "9" * 500, "0x1", "true", "1_0"]
)
def test_a_list_s_limit(http: Http, ann: User, limit: str) -> None:
    detail = refused(http.get("/jobs/runs", {"limit": limit}, headers=bearer(ann)), 422, "validation_error")
    assert detail["errors"][0]["loc"] == ["query", "limit"]
