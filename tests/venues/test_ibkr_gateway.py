"""The gateway of the tests is held against the public clients of the real one: they must be able to trade on it."""

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.venues.ibkr.process import GatewayProcess

CLIENT = Path(__file__).with_name("public_ib_client.py")
ASYNC_PYTHON = os.environ.get("IB_ASYNC_PYTHON", "")
"""An interpreter whose environment holds ib_async; it cannot live beside ib_insync, whose eventkit it overwrites."""
INSYNC = (sys.executable, "ib_insync")
needs_ib_async = pytest.mark.skipif(not ASYNC_PYTHON, reason="IB_ASYNC_PYTHON names no interpreter with ib_async")


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway with an empty ledger."""
    process = GatewayProcess(tmp_path / "ledger.db")
    yield process
    process.stop()


def run(gateway: GatewayProcess, scenario: str, *arguments: str, client: tuple[str, str] = INSYNC) -> dict[str, Any]:
    """What the public client saw."""
    command = [client[0], str(CLIENT), client[1], str(gateway.port), scenario, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.mark.parametrize(
    ("client", "version"),
    [(INSYNC, 176), pytest.param((ASYNC_PYTHON, "ib_async"), 178, marks=needs_ib_async)],
    ids=["ib_insync", "ib_async"],
)
def test_public_clients_trade_on_it(gateway: GatewayProcess, client: tuple[str, str], version: int) -> None:
    seen = run(gateway, "trade", client=client)
    assert (seen["accounts"], seen["version"]) == (["DU1234567"], version)
    assert seen["multiplier"] == "50"
    assert seen["unknown"] == []
    assert seen["symbols"] == ["MSFT"]
    assert seen["chain"] == ["EX1", "50", ["20280317"], 3875.0, 4125.0]
    # One tick over the price of 200; a commission of half a cent a share is raised to the least, a dollar.
    assert seen["bought"] == ["BOT", 10.0, 200.01, "bought"]
    assert seen["commission"] == [1.0, "USD"]
    assert seen["open"] == [["waits", 151.0, 7]]
    assert seen["completed"] == [["bought", "Filled", 0], ["waits", "Cancelled", 0]], "no order id in these"
    ((exec_id, shares),) = seen["executions"]
    assert exec_id.endswith(".01.01")
    assert shares == 10.0
    assert seen["positions"] == [["AAPL", 10.0, 200.11]]
    assert float(seen["cash"]) == 1_000_000 - 10 * 200.01 - 1
    assert seen["bars"] == 5
    assert float(seen["what_if"]) == 1500
    assert seen["bracket"] == [["SELL", "LMT"], ["SELL", "STP"]]
    assert gateway.do("orders")[0]["order_ref"] == "bought"
    _check_greeks(*seen["greeks"], seen["quote"])


def _check_greeks(vol: float, delta: float, gamma: float, vega: float, theta: float, under: float, quote: Any) -> None:
    """Against finite differences of Black's formula, written out by numerical integration of the payoff."""
    years = (datetime(2028, 3, 17, 20, tzinfo=UTC) - datetime.now(UTC)).total_seconds() / (365 * 86400)

    def price(forward: float, sigma: float, time: float) -> float:
        steps, width = 4000, 16.0
        total = 0.0
        for step in range(steps):
            z = -width / 2 + (step + 0.5) * width / steps
            end = forward * math.exp(sigma * math.sqrt(time) * z - sigma * sigma * time / 2)
            total += max(end - 4000, 0) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi) * width / steps
        return total

    assert (vol, under) == (0.2, 4000.0)
    up, middle, down = (price(4000 + move, 0.2, years) for move in (10, 0, -10))
    assert delta == pytest.approx((up - down) / 20, abs=1e-4)
    assert gamma == pytest.approx((up - 2 * middle + down) / 100, rel=1e-2)
    assert vega == pytest.approx((price(4000, 0.205, years) - price(4000, 0.195, years)), rel=1e-3)
    day = 1 / 365
    assert theta == pytest.approx(price(4000, 0.2, years - day) - middle, rel=2e-2)
    assert quote[0] < middle < quote[1]


def test_order_is_kept_over_a_kill_and_its_reference_is_no_key(gateway: GatewayProcess) -> None:
    run(gateway, "place")
    gateway.restart(signal.SIGKILL)
    again = run(gateway, "place")
    assert again["answer"][0] == "Filled"
    orders = gateway.orders("one")
    assert [order["status"] for order in orders] == ["Filled", "Filled"], "a venue that does not deduplicate"
    assert orders[0]["order_id"] < orders[1]["order_id"]
    assert len(gateway.do("executions")) == 2


@pytest.mark.parametrize("kind", ["silent", "drop"])
def test_order_booked_without_an_answer(gateway: GatewayProcess, kind: str) -> None:
    gateway.fault("place", kind)
    seen = run(gateway, "place")
    assert seen["answer"][1] == []
    assert [order["status"] for order in gateway.orders("one")] == ["Filled"]
    assert run(gateway, "ask", "reqExecutions")["answer"] == 1


@pytest.mark.parametrize("kind", ["lose", "ignore"])
def test_order_never_booked(gateway: GatewayProcess, kind: str) -> None:
    gateway.fault("place", kind)
    assert run(gateway, "place")["answer"][1] == []
    assert gateway.orders() == []


def test_order_booked_late(gateway: GatewayProcess) -> None:
    gateway.fault("place", "late", seconds=0.2)
    assert run(gateway, "place")["answer"][1] == []
    assert [order["status"] for order in gateway.orders("one")] == ["Filled"]


def test_execution_told_twice_corrected_and_paid_late(gateway: GatewayProcess) -> None:
    gateway.fault("place", "duplicate_execution")
    assert len(run(gateway, "place")["answer"][1]) == 1, "the client knows it by its id"
    gateway.fault("place", "correct", price=199.5)
    first, second = run(gateway, "place", "two")["answer"][1]
    assert first[0][:-3] == second[0][:-3]
    assert (first[0][-3:], second[0][-3:]) == (".01", ".02")
    assert (first[1], second[1]) == (200.01, 199.5)
    gateway.fault("place", "late_commission", seconds=5)
    ((_, _, commission),) = run(gateway, "place", "three")["answer"][1]
    assert commission == sys.float_info.max


@pytest.mark.parametrize("code", [321, 105])
def test_refused_change_leaves_the_order_alive(gateway: GatewayProcess, code: int) -> None:
    gateway.fault("modify", "error", code=code)
    seen = run(gateway, "modify")
    assert code in seen["codes"]
    assert gateway.orders("modified")[0]["status"] == "Submitted"
    assert seen["answer"] == ["Cancelled", [150.0]], "the client says so, although the gateway shows that it lives"


def test_rejection(gateway: GatewayProcess) -> None:
    gateway.fault("place", "reject", message="Order rejected - reason:no margin")
    seen = run(gateway, "place")
    assert 201 in seen["codes"]
    assert gateway.orders() == []


@pytest.mark.parametrize(
    ("code", "has_quote", "data_type"),
    [(354, False, 1), (10168, False, 1), (10197, False, 1), (10167, True, 3), (10090, True, 1)],
)
def test_market_data_that_is_not_paid_for(gateway: GatewayProcess, code: int, has_quote: bool, data_type: int) -> None:
    gateway.fault("market_data", "error", code=code)
    seen = run(gateway, "quote")
    assert code in seen["codes"]
    assert (seen["answer"][0], seen["answer"][2]) == (has_quote, data_type)


def test_option_that_the_model_says_nothing_of(gateway: GatewayProcess) -> None:
    gateway.fault("market_data", "no_greeks")
    assert run(gateway, "quote")["answer"][:2] == [True, None]
    gateway.fault("market_data", "unset_greeks")
    assert run(gateway, "quote")["answer"][:2] == [True, None]


def test_same_history_twice_within_15_seconds(gateway: GatewayProcess) -> None:
    seen = run(gateway, "history")
    assert 162 in seen["codes"]
    assert seen["answer"] == [2, 0]


@pytest.mark.parametrize("question", ["reqAllOpenOrders", "reqExecutions", "reqPositions"])
def test_answer_that_never_comes(gateway: GatewayProcess, question: str) -> None:
    names = {"reqAllOpenOrders": "all_open_orders", "reqExecutions": "executions", "reqPositions": "positions"}
    first = 0 if question == "reqAllOpenOrders" else 1  # the client asks for the others when it connects
    gateway.fault(names[question], "silent", count=None)
    if first:
        assert run(gateway, "connect")["answer"] in ("TimeoutError", "connected")
    else:
        assert run(gateway, "ask", question)["answer"] == "TimeoutError"


def test_client_id_is_its_own(gateway: GatewayProcess) -> None:
    seen = run(gateway, "twice")
    assert seen["first"] is True
    assert 326 in seen["codes"]
    gateway.fault("connect", "refuse")
    assert 326 in run(gateway, "connect")["codes"]


def test_connection_that_says_nothing(gateway: GatewayProcess) -> None:
    gateway.fault("connect", "mute")
    assert run(gateway, "connect")["answer"] == "TimeoutError"
    gateway.do("freeze")
    assert run(gateway, "connect")["answer"] == "TimeoutError"


def test_next_id_that_rolls_back(gateway: GatewayProcess) -> None:
    run(gateway, "place")
    gateway.do("next_id", client_id=7, value=1)
    run(gateway, "place", "two")
    first, second = gateway.do("orders")
    assert second["order_id"] <= first["order_id"], "the same id again"
    assert second["perm_id"] > first["perm_id"]
