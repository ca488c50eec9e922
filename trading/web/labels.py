"""What the pages call a limit or a parameter: one word for one thing, on every page."""

from typing import Final

from trading.tenants.parameters import FIELDS, HOURS, SYMBOLS

LABELS: Final[dict[str, str]] = {
    "max_order_size": "Size of one order",
    "max_daily_loss": "Loss in a day",
    "max_position_per_symbol": "Position in one symbol",
    "max_gross_exposure": "Gross exposure",
    "max_net_delta": "Net delta",
    "max_open_legs": "Symbols held",
    "max_spread_pct": "Spread, %",
    "breaker_losses": "Losses in a row",
    "breaker_loss": "Loss that counts for the breaker",
    HOURS: "Market hours",
    SYMBOLS: "Symbols",
    "cash_buffer": "Cash buffer",
    "min_notional": "Smallest order",
    "max_orders": "Orders in a cycle",
}
_BY_SETTING: Final[dict[str, str]] = {
    **{field.dial: LABELS[name] for name, field in FIELDS.items()},
    "QT_MARKET_HOURS": LABELS[HOURS],
    "QT_MAX_PRICE_MOVE_PCT": "Price move, %",
}


def of_limit(setting: str) -> str:
    """The words for a limit; a limit that somebody added is called by its setting."""
    return _BY_SETTING.get(setting, setting)
