"""Momentum and liquidity: which symbols to hold, and how much of each. Arrays in, arrays out; no future bar is read."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def momentum(closes: Floats, *, skip: int = 5) -> Floats:
    """Total return of each column over the rows, leaving out the last ``skip``: those tend to reverse.

    ``closes``: shape (bars, symbols), oldest first. Source: Jegadeesh and Titman (1993), Journal of Finance 48,
    whose formation period skips the latest days. Result: shape (symbols,), as a fraction.
    """
    end = closes.shape[0] - 1 - skip
    if end < 1:
        raise ValueError(f"{closes.shape[0]} bars are too few to skip {skip}: at least {skip + 2} are needed")
    result: Floats = closes[end] / closes[0] - 1.0
    return result


def liquidity(closes: Floats, volumes: Floats) -> Floats:
    """Median traded value of each column per bar, in the quote currency. Shapes as in `momentum`."""
    result: Floats = np.median(closes * volumes, axis=0)
    return result


def target_weights(momenta: Floats, values: Floats, *, largest: float = 0.35) -> Floats:
    """Long-only weights that sum to at most 1: positive momentum, tilted to the liquid, none above ``largest``.

    ``momenta``, ``values``: shape (symbols,). The tilt is the rank of ``values``, from 1/n for the least liquid to 1.
    What the cap cuts off is shared among the others in proportion; what none can take stays in cash.
    """
    count = momenta.shape[0]
    if count == 0:
        return np.zeros(0)
    ranks = np.empty(count)
    ranks[np.argsort(values, kind="stable")] = np.arange(1, count + 1) / count
    raw = np.where(momenta > 0, momenta, 0.0) * ranks
    weights = np.zeros(count)
    free = raw > 0
    left = 1.0
    while free.any() and left > 1e-12:
        share = left * raw * free / (raw * free).sum()
        over = free & (share > largest)
        if not over.any():
            weights[free] = share[free]
            break
        weights[over] = largest
        left -= largest * int(over.sum())
        free &= ~over
    return weights


def mood(closes: Sequence[float], *, days: int = 5) -> float:
    """The last ``days``' return over what its volatility makes usual, squeezed into (-1, 1); 0 with too few bars."""
    if len(closes) < days + 2:
        return 0.0
    returns = np.diff(np.log(np.asarray(closes, dtype=np.float64)))
    usual = returns.std() * np.sqrt(days)
    return float(np.tanh(returns[-days:].sum() / usual)) if usual > 0 else 0.0
