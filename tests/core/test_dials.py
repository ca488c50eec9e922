"""Settings that are changed while the platform runs."""

from collections.abc import Callable
from decimal import Decimal
from threading import Thread
from typing import Any

import pytest
from django.db import connection
from pytest_django import Settings

from trading.core import dials
from trading.core.dials import Change, NotAllowed
from trading.core.models import ChangedSetting

pytestmark = pytest.mark.django_db(transaction=True)
LOSS = "QT_MAX_DAILY_LOSS"


@pytest.fixture(autouse=True)
def _environment(settings: Settings) -> None:
    settings.QT_MAX_DAILY_LOSS = Decimal(500)
    settings.QT_EXECUTION_MAX_ORDERS = 10
    settings.QT_EXECUTION_ALLOW_PARTIAL = True


def elsewhere(call: Callable[[], Any]) -> Any:
    """``call``'s answer on another connection, as another process has."""
    answers: list[Any] = []

    def run() -> None:
        try:
            answers.append(call())
        finally:
            connection.close()

    thread = Thread(target=run)
    thread.start()
    thread.join()
    return answers[0]


def test_the_environment_holds_until_a_change_and_again_after_none() -> None:
    assert dials.decimal(LOSS) == 500
    assert dials.change({LOSS: "250.50"}, by="ops") == [Change(LOSS, Decimal(500), Decimal("250.5"), returned=False)]
    assert dials.decimal(LOSS) == elsewhere(lambda: dials.decimal(LOSS)) == Decimal("250.5")
    assert dials.change({LOSS: None}, by="ops") == [Change(LOSS, Decimal("250.5"), Decimal(500), returned=True)]
    assert elsewhere(lambda: dials.decimal(LOSS)) == 500
    assert not ChangedSetting.objects.exists()


def test_what_changes_nothing_is_no_change_but_holds_when_the_environment_moves(settings: Settings) -> None:
    assert dials.change({LOSS: "500"}, by="ops") == []
    settings.QT_MAX_DAILY_LOSS = Decimal(900)
    assert dials.decimal(LOSS) == 500


def test_kinds() -> None:
    dials.change({"QT_EXECUTION_MAX_ORDERS": 3, "QT_EXECUTION_ALLOW_PARTIAL": False}, by="ops")
    values = dials.values()
    assert values["QT_EXECUTION_MAX_ORDERS"] == 3
    assert values["QT_EXECUTION_ALLOW_PARTIAL"] is False
    assert set(values) == set(dials.DIALS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (LOSS, "NaN"),
        (LOSS, "Infinity"),
        (LOSS, "-1"),
        (LOSS, "-0.01"),
        (LOSS, "1e400"),
        (LOSS, "1000000000001"),
        (LOSS, "0.001"),
        (LOSS, "1_000"),
        (LOSS, "٣"),
        (LOSS, ""),
        (LOSS, "x" * 500),
        (LOSS, True),
        (LOSS, 1.5),
        (LOSS, [1]),
        (LOSS, {}),
        ("QT_EXECUTION_MAX_ORDERS", "1.5"),
        ("QT_EXECUTION_MAX_ORDERS", 1001),
        ("QT_EXECUTION_MAX_ORDERS", 10**40),
        ("QT_EXECUTION_MAX_ORDERS", False),
        ("QT_EXECUTION_ALLOW_PARTIAL", "true"),
        ("QT_EXECUTION_ALLOW_PARTIAL", 1),
        ("QT_MAX_PRICE_MOVE_PCT", "0"),
        ("SECRET_KEY", "x"),
        ("QT_EXECUTION_EXCHANGE", "binance"),
        ("DEBUG", True),
    ],
)
def test_what_is_not_allowed_changes_nothing_at_all(name: str, value: Any) -> None:
    with pytest.raises(NotAllowed) as caught:
        dials.change({"QT_MAX_GROSS_EXPOSURE": "5", name: value}, by="ops")
    assert caught.value.name == name
    assert not ChangedSetting.objects.exists()


def test_minus_zero_is_zero() -> None:
    dials.change({"QT_MAX_GROSS_EXPOSURE": "-0"}, by="ops")
    assert str(dials.decimal("QT_MAX_GROSS_EXPOSURE")) == "0"


def test_every_dial_is_a_setting_of_its_kind_and_within_its_bounds() -> None:
    for name, dial in dials.DIALS.items():
        value = dials.of_environment(name)
        assert type(value) is dial.kind
        assert dials.read(name, str(value) if dial.kind is Decimal else value) == value
