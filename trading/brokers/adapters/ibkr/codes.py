"""What the gateway's numbers mean for us. Meanings: Interactive Brokers, TWS API, "Message codes"."""

from enum import StrEnum

CONNECTION_LOST = 1100
RESTORED_DATA_LOST = 1101
RESTORED_DATA_KEPT = 1102
BROKEN_TO_SERVER = 2110
CLIENT_ID_IN_USE = 326
DUPLICATE_ORDER_ID = 103
ORDER_CANCELLED = 202
NO_SECURITY = 200
HISTORY_FAILED = 162

DOWN = frozenset({CONNECTION_LOST, BROKEN_TO_SERVER})
UP_AGAIN = frozenset({RESTORED_DATA_LOST, RESTORED_DATA_KEPT})
NOT_FOUND_TO_CANCEL = frozenset({135, 10147})
TOO_LATE_TO_CANCEL = frozenset({161, 10148})
ADVISORY = frozenset({165, 399, 404, 434, 492, 10090, 10091, 10167, 10349})
"""Said beside what goes on as it was asked."""


class NoData(StrEnum):
    """Why there is no price."""

    NOT_SUBSCRIBED = "market_data_not_subscribed"
    COMPETING = "market_data_competing_session"
    DELAYED = "market_data_delayed"


NO_DATA = {354: NoData.NOT_SUBSCRIBED, 10168: NoData.NOT_SUBSCRIBED, 10197: NoData.COMPETING, 10167: NoData.DELAYED}


def is_notice(code: int) -> bool:
    """Whether a number beside a request says nothing against it."""
    return code in ADVISORY or 2100 <= code < 2200
