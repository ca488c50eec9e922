"""Where an order stands with us, and what may follow: one table, of which docs/orders.md has the drawing."""

from collections.abc import Mapping
from typing import Final

from django.db.models import TextChoices


class OrderState(TextChoices):
    """Where an order stands with us."""

    REFUSED = "refused", "Refused by risk"
    INTENDED = "intended", "Approved, not sent"
    SENT = "sent", "Sent, not answered"
    UNKNOWN = "unknown", "Unknown: the venue has not said"
    OPEN = "open", "Open at the venue"
    PARTIALLY_FILLED = "partially_filled", "Filled in part, open"
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired", "Ended by its time in force"
    REJECTED = "rejected", "Rejected by the venue"
    WITHDRAWN = "withdrawn", "Withdrawn: it was not sent"
    NOT_BOOKED = "not_booked", "Not booked: it was sent, and the venue has none"


LIVE: Final = (
    OrderState.INTENDED,
    OrderState.SENT,
    OrderState.UNKNOWN,
    OrderState.OPEN,
    OrderState.PARTIALLY_FILLED,
)
"""Something may still come of it."""
AT_VENUE: Final = LIVE[1:]
"""The venue has it, or may have it."""
NEVER_TAKEN: Final = (OrderState.REJECTED, OrderState.WITHDRAWN, OrderState.NOT_BOOKED)
"""Nothing was ever there: that something is after all is a difference."""
ENDED: Final = tuple(state for state in OrderState if state not in LIVE)

_TAKEN = frozenset({
    OrderState.OPEN,
    OrderState.PARTIALLY_FILLED,
    OrderState.FILLED,
    OrderState.CANCELLED,
    OrderState.EXPIRED,
})  # fmt: skip
_ANSWERED = _TAKEN | {OrderState.REJECTED}

TRANSITIONS: Final[Mapping[OrderState, frozenset[OrderState]]] = {
    OrderState.REFUSED: frozenset(),
    OrderState.INTENDED: frozenset({OrderState.SENT, OrderState.WITHDRAWN}),
    # Back to intended when it was surely not taken; not booked when the venue has none past its booking horizon, or a
    # person writes it off.
    OrderState.SENT: _ANSWERED | {OrderState.INTENDED, OrderState.UNKNOWN, OrderState.NOT_BOOKED},
    # Sent again only where the venue knows an id that it has seen.
    OrderState.UNKNOWN: _ANSWERED | {OrderState.SENT, OrderState.NOT_BOOKED},
    OrderState.OPEN: (_ANSWERED - {OrderState.OPEN}) | {OrderState.UNKNOWN},
    OrderState.PARTIALLY_FILLED: frozenset(
        {OrderState.FILLED, OrderState.CANCELLED, OrderState.EXPIRED, OrderState.UNKNOWN}
    ),
    OrderState.FILLED: frozenset(),
    # A fill that was on its way when the order ended.
    OrderState.CANCELLED: frozenset({OrderState.FILLED}),
    OrderState.EXPIRED: frozenset({OrderState.FILLED}),
    # Venues have said no, or shown nothing, and booked the order afterwards.
    OrderState.REJECTED: _TAKEN,
    OrderState.WITHDRAWN: _TAKEN,
    OrderState.NOT_BOOKED: _TAKEN,
}
"""From each state, those that may follow it. Whatever else is asked for is a mistake in the code."""


class NotPermitted(RuntimeError):
    """A transition that the table does not have."""


def check(before: OrderState, after: OrderState) -> None:
    """Raise `NotPermitted` unless ``after`` may follow ``before``."""
    if after not in TRANSITIONS[before]:
        raise NotPermitted(f"an order does not go from {before} to {after}")


def into(state: OrderState) -> tuple[OrderState, ...]:
    """The states that ``state`` may follow, in the order in which they are declared."""
    return tuple(before for before in OrderState if state in TRANSITIONS[before])


def drawing() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> refused", "    [*] --> intended"]
    for before in OrderState:
        lines += [f"    {before} --> {after}" for after in OrderState if after in TRANSITIONS[before]]
    lines += [f"    {state} --> [*]" for state in ENDED]
    return "\n".join(lines)
