"""European options on futures, premium paid up front: Black (1976), its greeks, and the volatility of a price.

American exercise and futures-style margining, where the premium is settled daily and not discounted, are priced
otherwise; use a rate of 0 for the latter.
"""

from math import erfc, exp, log, pi, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trading.quant.kernels import Floats, kernel


class Sensitivities(NamedTuple):
    """Value and greeks, arrays of one shape, in natural units: of one unit of the underlying.

    ``delta`` and ``gamma`` per unit of the forward price, ``vega`` per 1.00 of volatility, ``theta`` per year that
    passes, ``rho`` per 1.00 of the rate. Traders quote vega and rho per point (times 0.01), theta per day (over 365).
    """

    value: Floats
    delta: Floats
    gamma: Floats
    vega: Floats
    theta: Floats
    rho: Floats


@kernel
def _cumulative_nb(x: float) -> float:
    """The standard normal's distribution function, exact in both tails."""
    return 0.5 * erfc(-x / sqrt(2.0))


@kernel
def _one_nb(f: float, k: float, t: float, r: float, s: float, is_call: bool) -> tuple[float, ...]:
    discount = exp(-r * t)
    sign = 1.0 if is_call else -1.0
    width = s * sqrt(t)
    if width <= 0.0:  # at expiry, or without volatility: what exercise is worth
        inside = sign * (f - k) > 0.0
        value = discount * (sign * (f - k) if inside else 0.0)
        return value, discount * sign if inside else 0.0, 0.0, 0.0, r * value, -t * value
    d1 = (log(f / k) + 0.5 * width * width) / width
    d2 = d1 - width
    density = exp(-0.5 * d1 * d1) / sqrt(2.0 * pi)
    value = discount * sign * (f * _cumulative_nb(sign * d1) - k * _cumulative_nb(sign * d2))
    return (
        value,
        discount * sign * _cumulative_nb(sign * d1),
        discount * density / (f * width),
        f * discount * density * sqrt(t),
        -f * discount * density * s / (2.0 * sqrt(t)) + r * value,
        -t * value,
    )


@kernel
def _all_nb(f: Floats, k: Floats, t: Floats, r: Floats, s: Floats, is_call: npt.NDArray[np.bool_], out: Floats) -> None:
    for i in range(f.size):
        out[0, i], out[1, i], out[2, i], out[3, i], out[4, i], out[5, i] = _one_nb(
            f[i], k[i], t[i], r[i], s[i], is_call[i]
        )


@kernel
def _implied_nb(
    price: Floats, f: Floats, k: Floats, t: Floats, r: Floats, is_call: npt.NDArray[np.bool_], out: Floats
) -> None:
    """Bisection, with Newton's step wherever that stays inside: it never leaves the bracket."""
    for i in range(f.size):
        low, high = 0.0, 10.0
        floor = _one_nb(f[i], k[i], t[i], r[i], low, is_call[i])[0]
        ceiling = _one_nb(f[i], k[i], t[i], r[i], high, is_call[i])[0]
        if not (t[i] > 0.0 and floor < price[i] < ceiling):
            out[i] = np.nan
            continue
        guess = 0.5
        for _ in range(200):
            answer = _one_nb(f[i], k[i], t[i], r[i], guess, is_call[i])
            if answer[0] > price[i]:
                high = guess
            else:
                low = guess
            step = guess - (answer[0] - price[i]) / answer[3] if answer[3] > 0.0 else -1.0
            following = step if low < step < high else 0.5 * (low + high)
            if abs(following - guess) <= 1e-15 + 4e-16 * guess:
                break
            guess = following
        out[i] = guess


def black76(
    forward: npt.ArrayLike,
    strike: npt.ArrayLike,
    years: npt.ArrayLike,
    rate: npt.ArrayLike,
    volatility: npt.ArrayLike,
    is_call: npt.ArrayLike,
) -> Sensitivities:
    """Value and greeks of options on futures; the arguments are broadcast against each other.

    ``forward`` and ``strike`` are prices above 0, ``years`` to expiry and ``volatility`` (per year, as a fraction of 1)
    at least 0, ``rate`` compounded continuously. Raises `ValueError` for anything else.

    Source: F. Black, The pricing of commodity contracts, Journal of Financial Economics 3 (1976).
    """
    f, k, t, r, s = _numbers(forward, strike, years, rate, volatility, is_call)
    calls = np.broadcast_to(np.asarray(is_call, dtype=np.bool_), f.shape)
    if np.any(s < 0):
        raise ValueError("a volatility is not negative")
    out = np.empty((6, f.size))
    _all_nb(f.ravel(), k.ravel(), t.ravel(), r.ravel(), s.ravel(), np.ascontiguousarray(calls).ravel(), out)
    return Sensitivities(*(row.reshape(f.shape) for row in out))


def implied_volatility(
    price: npt.ArrayLike,
    forward: npt.ArrayLike,
    strike: npt.ArrayLike,
    years: npt.ArrayLike,
    rate: npt.ArrayLike,
    is_call: npt.ArrayLike,
) -> Floats:
    """The volatility at which `black76` gives ``price``; NaN where none between 0 and 10 does, as at an arbitrage."""
    f, k, t, r, paid = _numbers(forward, strike, years, rate, price, is_call)
    calls = np.broadcast_to(np.asarray(is_call, dtype=np.bool_), f.shape)
    out = np.empty(f.size)
    _implied_nb(paid.ravel(), f.ravel(), k.ravel(), t.ravel(), r.ravel(), np.ascontiguousarray(calls).ravel(), out)
    return out.reshape(f.shape)


def _numbers(
    forward: npt.ArrayLike, strike: npt.ArrayLike, years: npt.ArrayLike, rate: npt.ArrayLike, last: npt.ArrayLike,
    is_call: npt.ArrayLike,
) -> list[Floats]:  # fmt: skip
    shape = np.broadcast_shapes(*(np.shape(value) for value in (forward, strike, years, rate, last, is_call)))
    arrays = [
        np.broadcast_to(np.asarray(value, dtype=np.float64), shape).copy()
        for value in (forward, strike, years, rate, last)
    ]
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("every argument is a finite number")
    if np.any(arrays[0] <= 0) or np.any(arrays[1] <= 0) or np.any(arrays[2] < 0):
        raise ValueError("forward and strike are above 0, and the years to expiry not below")
    return arrays
