"""What goes wrong at a venue while it is sent an order, and what is lost around it."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.faults.orders.desks import TIMEOUT_SECONDS, Binance, Desk, Ibkr, Phillip
from tests.venues.server import TURNED_AWAY

HANG = 2 * TIMEOUT_SECONDS
LATE = 2 * TIMEOUT_SECONDS
VERY_LATE = 3.0
Answer = Mapping[str, Any]


def _refusal(status: int, body: Any, *, process: str = "now", delay: float = 0.0) -> Answer:
    headers = {"Retry-After": "1"} if status in TURNED_AWAY else {}
    return {"process": process, "delay": delay, "answer": "status", "status": status, "body": body, "headers": headers}


OVER_HTTP: Mapping[str, Answer] = {
    "nothing": {},
    "request lost": {"process": "never", "answer": "drop"},
    "accepted, then no answer": {"answer": "hang", "delay": HANG},
    "accepted, then hung up": {"answer": "drop"},
    "accepted, then reset in the middle of the answer": {"answer": "cut"},
    "booked late": {"process": "late", "answer": "drop", "delay": LATE},
    "booked very late": {"process": "late", "answer": "drop", "delay": VERY_LATE},
    "garbage": {"answer": "garbage"},
    "another order's answer": {
        "answer": "replace",
        "replace": {"clientOrderId": "another", "origClientOrderId": "another", "orderId": 1},
    },
    "500 although booked": _refusal(500, "<html>"),
    "502 although booked": _refusal(502, "<html>"),
    "503 and not booked": _refusal(503, "<html>", process="never"),
    "slow": {"delay": TIMEOUT_SECONDS / 2},
}
BINANCE: Mapping[str, Answer] = {
    **OVER_HTTP,
    "400 although booked": _refusal(400, {"code": -2010, "msg": "Account has insufficient balance."}),
    "400, and booked late": _refusal(400, {"code": -2010, "msg": "This order would fail."}, process="late", delay=LATE),
    "-1006 although booked": _refusal(400, {"code": -1006, "msg": "An unexpected response was received."}),
    "-1006 and not booked": _refusal(400, {"code": -1006, "msg": "Unexpected response."}, process="never"),
    "-1007 although booked": _refusal(408, {"code": -1007, "msg": "Timeout waiting for response."}),
    "-1007, and booked late": _refusal(408, {"code": -1007, "msg": "Timeout."}, process="late", delay=LATE),
    "429": _refusal(429, {"code": -1003, "msg": "Too much weight."}, process="never"),
    "418": _refusal(418, {"code": -1003, "msg": "Banned."}, process="never"),
}
PHILLIP: Mapping[str, Answer] = {
    **OVER_HTTP,
    "400 although booked": _refusal(400, {"error": "invalid"}),
    "400, and booked late": _refusal(400, {"error": "invalid"}, process="late", delay=LATE),
    "401 although booked": _refusal(401, {"error": "invalid_token"}),
    "429": _refusal(429, {"error": "rate_limited"}, process="never"),
}
IBKR: Mapping[str, Answer] = {
    "nothing": {},
    "request lost": {"kind": "lose"},
    "accepted, then no answer": {"kind": "silent"},
    "accepted, then hung up": {"kind": "drop"},
    "booked late": {"kind": "late", "seconds": LATE},
    "booked very late": {"kind": "late", "seconds": VERY_LATE},
    "garbage": {"kind": "garbage"},
    "another order's answer": {"kind": "wrong_id"},
    "refused although booked": {"kind": "refuse_booked"},
    "504 although booked": {"kind": "refuse_booked", "code": 504},
    "filled in part": {"kind": "partial", "quantity": "1"},
    "an execution told twice": {"kind": "duplicate_execution"},
    "slow": {"kind": "slow", "seconds": TIMEOUT_SECONDS / 2},
}
TO_AN_ORDER: Mapping[type[Desk], Mapping[str, Answer]] = {Binance: BINANCE, Phillip: PHILLIP, Ibkr: IBKR}
ASKED_OVER_HTTP: Mapping[str, Answer] = {
    "garbage": OVER_HTTP["garbage"],
    "502": OVER_HTTP["502 although booked"],
    "no answer": OVER_HTTP["accepted, then no answer"],
    "another order": OVER_HTTP["another order's answer"],
    "cut": OVER_HTTP["accepted, then reset in the middle of the answer"],
}
TO_A_QUESTION: Mapping[type[Desk], Mapping[str, Answer]] = {
    Binance: ASKED_OVER_HTTP,
    Phillip: ASKED_OVER_HTTP,
    Ibkr: {
        "garbage": {"kind": "garbage"},
        "no answer": {"kind": "silent"},
        "hung up": {"kind": "drop"},
        "refused": {"kind": "error", "code": 321},
    },
}
AROUND = ("nothing", "redis lost", "postgres restarted", "venue restarted")


@dataclass(frozen=True)
class Case:
    """``fault`` strikes the order, ``asked`` the next question about it, ``around`` while the order is under way."""

    fault: str
    asked: str
    around: str

    def __str__(self) -> str:
        return f"{self.fault} / {self.around}" + (f" / asked: {self.asked}" if self.asked else "")


def cases(desk: Desk, rng: random.Random, count: int | None) -> Iterator[Case]:
    """Every fault with everything around it, in an order drawn by ``rng``; or ``count`` of them, each fault once."""
    faults = TO_AN_ORDER[type(desk)]
    asked = ["", *TO_A_QUESTION[type(desk)]]
    every = [Case(fault, rng.choice(asked), around) for fault in faults for around in AROUND]
    rng.shuffle(every)
    if count is not None:
        firsts = {case.fault: case for case in every}
        every = rng.sample(list(firsts.values()), min(count, len(firsts)))
    yield from every


def strike(desk: Desk, case: Case) -> None:
    """Put the case's faults in wait at the venue."""
    faults = TO_AN_ORDER[type(desk)]
    if faults[case.fault]:
        desk.fail_order(faults[case.fault])
    if case.asked:
        desk.fail_question(TO_A_QUESTION[type(desk)][case.asked])
