"""Kernels of the permutation test: sums of permuted results and of their squares, three ways to draw the same thing.

Whichever is used, row i of ``out`` is replicate ``start + i``, and each pairing of positions with returns is equally
likely.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from trading.quant.statistics.draws import GAMMA, HALF, LOW, ONE, below_nb, mix_nb, stream_nb, word_nb
from trading.quant.statistics.replication import Floats

Fixed = npt.NDArray[np.int64]

NOTHING, UNIT = np.int64(0), np.int64(1)


def fixed_point(values: Floats) -> tuple[Fixed, int]:
    """``values`` times 2**exponent as whole numbers, the exponent as large as their sum allows; and the exponent.

    Whole numbers add up to the same in any order, so the processor may take many at a time, and 62 bits for the sum
    are more than a float64 has: nothing is lost.
    """
    largest = float(np.abs(values).max()) * values.shape[0]
    exponent = 62 - int(np.frexp(largest)[1]) if largest > 0.0 else 0
    return np.rint(np.ldexp(values, exponent)).astype(np.int64), exponent


@njit(cache=True, nogil=True)
def choose_nb(first: Fixed, second: Fixed, wanted: int, seed: np.uint64, start: int, out: Fixed) -> None:
    """Positions of two sizes: which ``wanted`` bars take the one? Sums of ``first`` and of ``second`` over them.

    Every bar is chosen or not with about the right probability; then, while there are too many or too few, a bar is
    drawn and dropped or added. No step treats one bar unlike another, so that each set of ``wanted`` bars is equally
    likely. Meant for sizes that are not rare: to find a bar of a rare size takes long.
    """
    bars = first.shape[0]
    half = (bars + 1) // 2
    values = np.zeros(2 * half, dtype=np.int64)
    squares = np.zeros(2 * half, dtype=np.int64)
    values[:bars] = first
    squares[:bars] = second
    chosen = np.empty(2 * half, dtype=np.bool_)
    below = np.uint64(wanted / bars * 4294967296.0)
    wide = np.uint64(bars)
    unfair = np.uint64(1 << 32) % wide
    for row in range(out.shape[0]):
        key = stream_nb(seed, start + row)
        value, square, count = NOTHING, NOTHING, NOTHING
        for h in range(half):
            z = mix_nb(key + GAMMA * (np.uint64(h) + ONE))
            a, b = (z >> HALF) < below, (z & LOW) < below
            chosen[h] = a
            chosen[half + h] = b
            value += (values[h] if a else NOTHING) + (values[half + h] if b else NOTHING)
            square += (squares[h] if a else NOTHING) + (squares[half + h] if b else NOTHING)
            count += (UNIT if a else NOTHING) + (UNIT if b else NOTHING)
        if bars % 2 and chosen[bars]:  # the place past the end holds no bar
            count -= UNIT
        position = half
        while count != wanted:
            scaled = (word_nb(key, position) >> HALF) * wide
            position += 1
            bar = scaled >> HALF
            if (scaled & LOW) < unfair or chosen[bar] != (count > wanted):
                continue
            sign = -UNIT if chosen[bar] else UNIT
            chosen[bar] = not chosen[bar]
            value += sign * values[bar]
            square += sign * squares[bar]
            count += sign
        out[row, 0] = value
        out[row, 1] = square


@njit(cache=True, nogil=True)
def single_nb(excess: Floats, excess_square: Floats, returns: Floats, seed: np.uint64, start: int, out: Floats) -> None:
    """One symbol, positions of any size: sums over the drawn bars of excess times return and of its part in the square.

    ``excess``: position less the most frequent one; ``excess_square``: the same for the squares; shape (drawn,). A
    partial Fisher-Yates shuffle: only as many returns are drawn as bars have another position than the most frequent.
    Two accumulators, in a fixed order, hide the latency of the additions.
    """
    bars, drawn = returns.shape[0], excess.shape[0]
    left = np.empty(bars)
    picks = np.empty(drawn + drawn % 2, dtype=np.uint32)
    sparse = 4 * drawn < bars
    left[:] = returns
    for row in range(out.shape[0]):
        below_nb(stream_nb(seed, start + row), bars, 1, picks)
        sum_a, square_a, sum_b, square_b = 0.0, 0.0, 0.0, 0.0
        for h in range(drawn // 2):
            i = np.uint64(2 * h)
            j = i + np.uint64(picks[i])
            value = left[j]
            left[j] = left[i]
            sum_a += excess[i] * value
            square_a += excess_square[i] * (value * value)
            i += ONE
            j = i + np.uint64(picks[i])
            value = left[j]
            left[j] = left[i]
            sum_b += excess[i] * value
            square_b += excess_square[i] * (value * value)
        if drawn % 2:
            i = np.uint64(drawn - 1)
            value = left[i + np.uint64(picks[i])]
            sum_a += excess[i] * value
            square_a += excess_square[i] * (value * value)
        out[row, 0] = sum_a + sum_b
        out[row, 1] = square_a + square_b
        if sparse:
            for h in range(drawn):
                j = np.uint64(h) + np.uint64(picks[h])
                left[j] = returns[j]
        else:
            left[:] = returns


@njit(cache=True, nogil=True)
def several_nb(active: Floats, base: Floats, returns: Floats, seed: np.uint64, start: int, out: Floats) -> None:
    """As `single_nb` for several symbols: whole rows of ``returns`` are drawn for the rows of ``active`` positions.

    What the most frequent row of positions, ``base``, would have earned on the drawn bars is taken off.
    """
    bars, drawn, symbols = returns.shape[0], active.shape[0], returns.shape[1]
    left = np.empty(bars, dtype=np.uint32)
    picks = np.empty(drawn + drawn % 2, dtype=np.uint32)
    for row in range(out.shape[0]):
        below_nb(stream_nb(seed, start + row), bars, 1, picks)
        for i in range(bars):
            left[i] = np.uint32(i)
        total, square = 0.0, 0.0
        for i in range(drawn):
            j = np.uint64(i) + np.uint64(picks[i])
            bar = left[j]
            left[j] = left[i]
            x, y = 0.0, 0.0
            for s in range(symbols):
                x += active[i, s] * returns[bar, s]
                y += base[s] * returns[bar, s]
            total += x - y
            square += (x - y) * (x + y)
        out[row, 0] = total
        out[row, 1] = square
