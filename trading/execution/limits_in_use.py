"""How much of each limit a client uses now: what a review would find, without an order and without a lock."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.conf import settings

from trading.core import dials
from trading.execution.exposure import BOOK
from trading.risk import state
from trading.risk.limits import Book, modules
from trading.risk.snapshot import book_at, values_in_force
from trading.tenants.parameters import HAS_NO_LIMIT_AT_ZERO

PERCENT: Final = Decimal(100)


@dataclass(frozen=True)
class LimitUse:
    """A limit by its setting: its ``value`` (None: no limit), what of it is ``used``, and why that is not known.

    Of a limit that is on single orders nothing is used: ``used`` is None, and ``problem`` empty.
    """

    name: str
    meaning: str
    value: Any
    used: Decimal | int | None
    problem: str = ""

    @property
    def share(self) -> int | None:
        """Per cent of the limit, at most 100; None where there is none, or it is not known."""
        if self.used is None or self.value is None or not isinstance(self.value, Decimal | int) or self.value <= 0:
            return None
        return int(min(Decimal(self.used) / Decimal(self.value) * PERCENT, PERCENT))


def limits_in_use(client_id: UUID) -> list[LimitUse]:
    """Every limit in force for the client, in the order of their evaluation."""
    try:
        now = state.seen(client_id, BOOK)
        values = values_in_force(now.in_force())
        book = book_at(now)
    except (ValueError, LookupError) as error:
        return [LimitUse(name, _meaning(name), None, None, str(error)) for name in settings.RISK_LIMITS]
    return [_use(name, values, book) for name in settings.RISK_LIMITS]


def _use(name: str, values: Any, book: Book) -> LimitUse:
    limit = modules().get(name)
    if limit is None:
        return LimitUse(name, _meaning(name), None, None, "no module in trading/risk/limits: every order is refused")
    given = [values[setting] if setting in values else getattr(settings, setting) for setting in limit.settings]
    value = None if name in HAS_NO_LIMIT_AT_ZERO and given[0] <= 0 else given[0]
    if isinstance(value, tuple):  # sessions
        value = " and ".join(map(str, value)) or None
    try:
        used = None if limit.use is None else limit.use(book, *given)
    except (LookupError, ArithmeticError) as error:  # a price or a delta that is not known
        return LimitUse(name, _meaning(name), value, None, f"not known: {error}")
    return LimitUse(name, _meaning(name), value, used)


def _meaning(name: str) -> str:
    """What operators read beside its dial; of a limit without one the first line of its module."""
    if name in dials.DIALS:
        return dials.DIALS[name].meaning
    limit = modules().get(name)
    return "" if limit is None else limit.meaning
