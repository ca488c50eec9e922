"""A client's own parameters: bounded by the platform's, versioned, and in force at once."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pytest_django import Settings

from trading.core import dials
from trading.core.ids import uuid7
from trading.core.scope import platform_scope
from trading.tenants import parameters
from trading.tenants.models import Client, Parameters
from trading.tenants.parameters import NotWithinLimits, change, current, in_force

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _platform(settings: Settings) -> None:
    settings.QT_MAX_NOTIONAL_PER_TRADE = Decimal(1000)
    settings.QT_MAX_DAILY_LOSS = Decimal(500)
    settings.QT_MAX_POSITION_PER_SYMBOL = settings.QT_MAX_GROSS_EXPOSURE = Decimal(0)
    settings.QT_EXECUTION_CASH_BUFFER = Decimal(100)
    settings.QT_EXECUTION_MIN_NOTIONAL = Decimal(50)
    settings.QT_EXECUTION_MAX_ORDERS = 10
    settings.QUANTUM_TRADER_SYMBOLS = ["AAA", "BBB", "CCC"]


@pytest.fixture
def client_id() -> UUID:
    return Client.objects.create(name=f"Alpha {uuid7()}").id


def test_the_stricter_of_the_two_holds(client_id: UUID, settings: Settings) -> None:
    assert in_force(client_id).values == dials.values()
    change(
        client_id, {"max_order_size": "400", "cash_buffer": "250", "max_orders": 3, "symbols": ["CCC", "AAA"]}, by="a"
    )
    now = in_force(client_id)
    assert now.decimal("QT_MAX_NOTIONAL_PER_TRADE") == 400
    assert now.decimal("QT_EXECUTION_CASH_BUFFER") == 250
    assert now.values["QT_EXECUTION_MAX_ORDERS"] == 3
    assert now.symbols == ("AAA", "CCC")
    assert now.decimal("QT_MAX_DAILY_LOSS") == 500
    settings.QT_MAX_NOTIONAL_PER_TRADE = Decimal(300)
    settings.QT_EXECUTION_CASH_BUFFER = Decimal(900)
    settings.QUANTUM_TRADER_SYMBOLS = ["AAA"]
    now = in_force(client_id)
    assert now.decimal("QT_MAX_NOTIONAL_PER_TRADE") == 300, "the platform may become stricter later"
    assert now.decimal("QT_EXECUTION_CASH_BUFFER") == 900
    assert now.symbols == ("AAA",)


def test_where_the_platform_has_no_limit_the_client_s_own_holds(client_id: UUID, settings: Settings) -> None:
    change(client_id, {"max_gross_exposure": "5000"}, by="a")
    assert in_force(client_id).decimal("QT_MAX_GROSS_EXPOSURE") == 5000
    settings.QT_MAX_GROSS_EXPOSURE = Decimal(2000)
    assert in_force(client_id).decimal("QT_MAX_GROSS_EXPOSURE") == 2000


def test_hours_of_one_s_own_are_inside_the_platform_s(client_id: UUID, settings: Settings) -> None:
    settings.QT_MARKET_HOURS = "America/New_York mon-fri 09:30-16:00"
    change(client_id, {"market_hours": "Europe/London mon-sun 00:00-23:00"}, by="a")
    held = in_force(client_id).sessions
    assert [session.text for session in held] == [settings.QT_MARKET_HOURS, "Europe/London mon-sun 00:00-23:00"]
    change(client_id, {"market_hours": None}, by="a")
    assert [session.text for session in in_force(client_id).sessions] == [settings.QT_MARKET_HOURS]


def test_another_client_s_do_not_hold(client_id: UUID) -> None:
    other = Client.objects.create(name=f"Beta {uuid7()}").id
    change(other, {"max_order_size": "1"}, by="a")
    assert in_force(client_id).decimal("QT_MAX_NOTIONAL_PER_TRADE") == 1000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_order_size", "1000.01"),
        ("max_order_size", "0"),
        ("max_order_size", "-1"),
        ("max_order_size", "NaN"),
        ("max_order_size", "1e400"),
        ("max_order_size", 10**40),
        ("max_order_size", "1.001"),
        ("max_order_size", True),
        ("max_order_size", 1.5),
        ("max_order_size", []),
        ("max_gross_exposure", "0"),
        ("max_gross_exposure", "1000000000001"),
        ("cash_buffer", "99.99"),
        ("min_notional", "49"),
        ("max_orders", 11),
        ("max_orders", 0),
        ("max_orders", "1.5"),
        ("max_open_legs", 21),
        ("max_open_legs", "1.5"),
        ("max_spread_pct", "5.01"),
        ("breaker_losses", 4),
        ("breaker_losses", 0),
        ("breaker_loss", "500.01"),
        ("max_net_delta", "-1"),
        ("market_hours", "always"),
        ("market_hours", ""),
        ("market_hours", 9),
        ("market_hours", "Moon/Base mon-fri 09:30-16:00"),
        ("symbols", []),
        ("symbols", ["DDD"]),
        ("symbols", ["AAA", "AAA"]),
        ("symbols", "AAA"),
        ("symbols", [1]),
        ("mode", "autonomous"),
        ("client_id", "x"),
        ("version", 7),
    ],
)
def test_what_is_looser_or_no_number_is_refused_by_name(client_id: UUID, name: str, value: Any) -> None:
    with pytest.raises(NotWithinLimits) as caught:
        change(client_id, {"max_daily_loss": "100", name: value}, by="a")
    assert [problem for problem, _ in caught.value.problems] == [name]
    assert current(client_id) is None, "nothing of it is stored"


def test_each_change_is_a_version_and_what_is_not_named_stays(client_id: UUID) -> None:
    first, _ = change(client_id, {"max_order_size": "400"}, by="ann")
    second, what = change(client_id, {"max_daily_loss": "50", "max_order_size": "400"}, by="ben")
    assert (first.version, second.version) == (1, 2)
    assert what == {"max_daily_loss": (None, Decimal(50))}
    third, what = change(client_id, {"max_order_size": None}, by="cyd")
    assert what == {"max_order_size": (Decimal(400), None)}
    assert (third.max_order_size, third.max_daily_loss) == (None, Decimal(50))
    same, what = change(client_id, {"max_daily_loss": "50.00"}, by="dan")
    assert (same.version, what) == (3, {})
    history = Parameters.objects.filter(client_id=client_id).order_by("version")
    assert [row.changed_by for row in history] == ["ann", "ben", "cyd"]


def test_of_many_changes_at_once_none_is_lost(client_id: UUID) -> None:
    wanted = [
        {"max_order_size": "10"}, {"max_daily_loss": "20"}, {"max_gross_exposure": "30"}, {"cash_buffer": "140"},
        {"min_notional": "50"}, {"max_orders": 6}, {"symbols": ["AAA"]}, {"max_position_per_symbol": "80"},
        {"max_net_delta": "90"}, {"max_open_legs": 9}, {"max_spread_pct": "1"}, {"breaker_losses": 2},
        {"breaker_loss": "100"}, {"market_hours": "America/New_York mon-fri 09:30-16:00"},
    ]  # fmt: skip

    @platform_scope()
    def make(one: dict[str, Any]) -> None:
        try:
            with transaction.atomic():
                change(client_id, one, by="a")
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, wanted))
    last = current(client_id)
    assert last is not None
    assert last.version == len(wanted)
    assert all(getattr(last, name) is not None for name in parameters.NAMES)


amounts = st.decimals(0, 10_000, places=2)


@given(own=amounts, before=amounts, after=amounts)
@examples(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_platform_changes_the_client_is_never_looser(
    client_id: UUID, settings: Settings, own: Decimal, before: Decimal, after: Decimal
) -> None:
    settings.QT_MAX_DAILY_LOSS = settings.QT_EXECUTION_CASH_BUFFER = before
    try:
        change(client_id, {"max_daily_loss": str(own)}, by="a")
        accepted = True
    except NotWithinLimits:
        accepted = False
    assert accepted == (0 < own <= before)
    settings.QT_MAX_DAILY_LOSS = settings.QT_EXECUTION_CASH_BUFFER = after
    now = in_force(client_id)
    assert now.decimal("QT_MAX_DAILY_LOSS") <= after
    assert now.decimal("QT_EXECUTION_CASH_BUFFER") >= after
