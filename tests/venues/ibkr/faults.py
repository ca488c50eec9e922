"""What goes wrong on purpose: each fault waits for a kind of request, and is used up after so many."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Fault:
    """``kind`` happens at the next ``count`` requests of the sort ``on``; without a count at all of them."""

    on: str
    kind: str
    count: int | None = 1
    values: dict[str, Any] = field(default_factory=dict)


KINDS = {
    "connect": {"refuse", "mute", "drop"},
    "place": {
        "silent", "late", "drop", "lose", "ignore", "reject", "rest", "partial",
        "duplicate_execution", "correct", "late_commission", "no_commission",
        "garbage", "wrong_id", "refuse_booked", "slow",
    },
    "modify": {"error"},
    "cancel": {"silent", "ignore", "error"},
    "market_data": {"silent", "error", "no_greeks", "unset_greeks", "stale", "greeks_once"},
}  # fmt: skip
QUERIES = {
    "open_orders", "all_open_orders", "completed_orders", "executions", "positions", "summary", "contract", "chain",
    "symbols", "history", "current_time", "account_updates",
}  # fmt: skip
QUERY_KINDS = {"silent", "error", "slow", "garbage", "drop"}


class Faults:
    """The faults that wait."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, on: str, kind: str, *, count: int | None = 1, **values: Any) -> None:
        """Put a fault in wait; raises `ValueError` for one that is not known."""
        known = QUERY_KINDS if on in QUERIES else KINDS.get(on, set())
        if kind not in known:
            there_are = sorted(known) or sorted([*KINDS, *QUERIES])
            raise ValueError(f"no fault {kind!r} on {on!r}; there are: {', '.join(there_are)}")
        self._waiting.append(Fault(on, kind, count, values))

    def clear(self) -> None:
        """Forget all."""
        self._waiting.clear()

    def take(self, on: str) -> Fault | None:
        """The fault that strikes now, if one waits for this."""
        for fault in self._waiting:
            if fault.on == on:
                if fault.count is not None:
                    fault.count -= 1
                    if fault.count <= 0:
                        self._waiting.remove(fault)
                return fault
        return None
