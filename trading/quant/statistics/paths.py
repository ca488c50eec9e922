"""Kernels of the bootstrap: what a replicate of the returns sums to, and what it compounds to.

Row i of ``out`` is replicate ``start + i``, and nothing else decides what is in it.
"""

import numpy as np
from numba import njit

from trading.quant.statistics.blocks import rotations_nb
from trading.quant.statistics.draws import ONE, WORD, lowest_nb, stream_nb
from trading.quant.statistics.replication import Floats

LANES = 16
STEPS = 4
"""Columns that are walked side by side, and steps in which what is known of each stays in the processor's registers."""
FIRST, SECOND, GROWTH, LOWEST, BELOW, DEEPEST = range(6)
"""Of a stretch of bars: sums of the centred returns and of their squares; equity at its end and at its lowest as a
multiple of what it began with; and, had it begun at a peak, equity at its end and at its deepest as a share of the
peak until then."""


@njit(cache=True, nogil=True)
def sums_nb(prefix: Floats, chance: np.uint64, seed: np.uint64, start: int, out: Floats) -> None:
    """Sums of centred returns and of their squares, from running sums twice round: a difference for each block.

    Where one block ends and the next begins, at bar t, the sum up to t of the one rotation is taken and that of the
    other left.
    """
    bars = (prefix.shape[0] - 1) // 2
    begins = np.empty((bars + WORD - 1) // WORD, dtype=np.uint64)
    shifts = np.empty(bars + 2, dtype=np.uint32)
    for row in range(out.shape[0]):
        rotations_nb(stream_nb(seed, start + row), bars, chance, begins, shifts)
        block, shift = np.uint64(0), np.uint64(shifts[0])
        first, second = -prefix[shift, 0], -prefix[shift, 1]
        for word in range(begins.shape[0]):
            bits, base = begins[word], np.uint64(WORD * word)
            while bits:
                bar = base + lowest_nb(bits)
                bits &= bits - ONE
                block += ONE
                ends, shift = shift + bar, np.uint64(shifts[block])
                first += prefix[ends, 0] - prefix[shift + bar, 0]
                second += prefix[ends, 1] - prefix[shift + bar, 1]
        ends = shift + np.uint64(bars)
        out[row, 0] = first + prefix[ends, 0]
        out[row, 1] = second + prefix[ends, 1]


@njit(cache=True, nogil=True)
def paths_nb(twice: Floats, mean: float, chance: np.uint64, seed: np.uint64, start: int, out: Floats) -> None:
    """The sums of `sums_nb`, final equity of 1 unit, and drawdown; from the returns twice round.

    A word of begins at a time, 64 bars are written out as a column of a table, and the columns are walked down side by
    side, which the processor does with many at once; what they come to is then put together in their order. No step
    asks how long a block is, so that there is nothing for the processor to guess.
    """
    bars = twice.shape[0] // 2
    begins = np.empty((bars + WORD - 1) // WORD, dtype=np.uint64)
    shifts = np.empty(bars + 2, dtype=np.uint32)
    table = np.zeros(WORD * LANES)
    found = np.zeros((6, LANES))
    whole = bars // WORD
    for row in range(out.shape[0]):
        rotations_nb(stream_nb(seed, start + row), bars, chance, begins, shifts)
        first, second, equity, below, deepest = 0.0, 0.0, 1.0, 1.0, 1.0
        block = np.uint64(0)
        for word in range(0, whole, LANES):
            lanes = min(LANES, whole - word)
            for lane in range(lanes):
                bits, bar, cell = begins[word + lane], np.uint64(WORD * (word + lane)), np.uint64(lane)
                for _ in range(WORD):
                    block += bits & ONE
                    table[cell] = twice[np.uint64(shifts[block]) + bar]
                    bits >>= ONE
                    bar += ONE
                    cell += np.uint64(LANES)
            walk_nb(table, mean, found)
            for lane in range(lanes):
                first += found[FIRST, lane]
                second += found[SECOND, lane]
                equity *= found[GROWTH, lane]
                deepest = min(deepest, min(below * found[LOWEST, lane], found[DEEPEST, lane]))
                below = min(below * found[GROWTH, lane], found[BELOW, lane])
        for rest in range(WORD * whole, bars):
            bar = np.uint64(rest)
            block += begins[whole] >> (bar % np.uint64(WORD)) & ONE
            value = twice[np.uint64(shifts[block]) + bar]
            first += value - mean
            second += (value - mean) * (value - mean)
            equity *= 1.0 + value
            below = min(below * (1.0 + value), 1.0)
            deepest = min(deepest, below)
        out[row, 0] = first
        out[row, 1] = second
        out[row, 2] = equity
        out[row, 3] = 1.0 - deepest


@njit(cache=True, nogil=True)
def walk_nb(table: Floats, mean: float, found: Floats) -> None:
    """What each column of ``table`` (rows of `LANES`) comes to, to ``found`` (6, LANES).

    Equity as a share of its peak needs no division: each bar multiplies it by 1 + return, and a new peak makes it 1.
    """
    first, second, growth = found[FIRST], found[SECOND], found[GROWTH]
    lowest, below, deepest = found[LOWEST], found[BELOW], found[DEEPEST]
    first[:] = 0.0
    second[:] = 0.0
    growth[:] = 1.0
    lowest[:] = 1.0
    below[:] = 1.0
    deepest[:] = 1.0
    for begin in range(0, table.shape[0], STEPS * LANES):
        values = table[begin : begin + STEPS * LANES]
        for lane in range(LANES):
            f, s, g, w, b, d = first[lane], second[lane], growth[lane], lowest[lane], below[lane], deepest[lane]
            for step in range(STEPS):
                value = values[step * LANES + lane]
                apart, factor = value - mean, 1.0 + value
                f += apart
                s += apart * apart
                g *= factor
                w = g if g < w else w
                b *= factor
                b = b if b < 1.0 else 1.0
                d = b if b < d else d
            first[lane], second[lane], growth[lane], lowest[lane], below[lane], deepest[lane] = f, s, g, w, b, d
