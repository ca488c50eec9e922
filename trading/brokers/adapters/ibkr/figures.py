"""Greeks as the venue's model has them, if they can be."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

from trading.brokers.adapters.ibkr.books import number
from trading.brokers.instruments import Greeks, Instrument, Right

EXPIRY_HOUR = 20
YEAR_SECONDS = 365 * 86_400


def sane_greeks(instrument: Instrument, figures: Sequence[float], *, on_future: bool, now: datetime) -> Greeks | None:
    """The model's figures, or None when one is missing or cannot be: what needs greeks is denied then.

    ``figures``: implied volatility, delta, price, gamma, vega per point, theta per day, the underlying's price. The
    venue gives no rho. For an option on a future at price V (Black 1976) it is -T V; for one on a stock at price S
    (Black and Scholes 1973), whose delta holds the first half of the formula, T (S delta - V); here per point of the
    rate, with T in years to 20:00 UTC of the last day.
    """
    values = [found for figure in figures if (found := number(figure)) is not None]
    if len(values) != 7 or instrument.expiry is None or instrument.right is None:
        return None
    volatility, delta, price, gamma, vega, theta, under = values
    sign = 1 if instrument.right is Right.CALL else -1
    if volatility <= 0 or price < 0 or under <= 0 or gamma < 0 or vega < 0 or not 0 <= sign * delta <= 1:
        return None
    day = instrument.expiry
    left = (datetime(day.year, day.month, day.day, EXPIRY_HOUR, tzinfo=UTC) - now).total_seconds()
    years = Decimal(max(left, 0.0)) / YEAR_SECONDS
    rho = years * (-price if on_future else under * delta - price) / 100
    return Greeks(delta, gamma, vega, theta, rho.quantize(Decimal("1e-8")), volatility)
