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
Counts = npt.NDArray[np.int64]

NOTHING, UNIT = np.int64(0), np.int64(1)
EIGHT, BYTE = np.uint64(8), np.uint64(0xFF)


def fixed_point(values: Floats) -> tuple[Fixed, int]:
    """``values`` times 2**exponent as whole numbers, the exponent as large as their sum allows; and the exponent.

    Whole numbers add up to the same in any order, so the processor may take many at a time, and 62 bits for the sum
    are more than a float64 has: nothing is lost.
    """
    largest = float(np.abs(values).max()) * values.shape[0]
    exponent = 62 - int(np.frexp(largest)[1]) if largest > 0.0 else 0
    return np.rint(np.ldexp(values, exponent)).astype(np.int64), exponent


@njit(cache=True, nogil=True)
def levels_nb(first: Fixed, second: Fixed, wanted: Counts, seed: np.uint64, start: int, out: Fixed) -> None:
    """Positions of a few sizes: which ``wanted[k]`` bars take size k? Sums of ``first`` and ``second`` over them.

    ``out``: shape (rows, sizes - 1, 2), without the last size, which has to be the most frequent. Every bar draws a
    size, by one byte, with about the right probability; then, while there are too many of some size, a bar is drawn
    and, if it has such a size, given one of which there are too few. No step treats one bar unlike another, so that
    each arrangement of the wanted counts is equally likely. Meant for sizes that are not rare: to find a bar of a rare
    size takes long.
    """
    bars, kinds = first.shape[0], wanted.shape[0]
    each = (bars + 7) // 8  # a word has bytes for bars ``each`` apart, so that the loops over words vectorise
    values = np.zeros(8 * each, dtype=np.int64)
    squares = np.zeros(8 * each, dtype=np.int64)
    values[:bars] = first
    squares[:bars] = second
    cuts = np.empty(kinds - 1, dtype=np.uint64)
    reached = NOTHING
    for kind in range(kinds - 1):
        reached += wanted[kind]
        cuts[kind] = np.uint64(round(reached / bars * 256.0))
    words = np.empty(each, dtype=np.uint64)
    moved_to = np.full(bars, np.int8(-1))
    moved = np.empty(bars, dtype=np.uint32)
    counts = np.empty(kinds, dtype=np.int64)
    wide = np.uint64(bars)
    unfair = np.uint64(1 << 32) % wide
    for row in range(out.shape[0]):
        key = stream_nb(seed, start + row)
        for h in range(each):
            words[h] = mix_nb(key + GAMMA * (np.uint64(h) + ONE))
        for place in range(bars, 8 * each):  # past the end: of the last size, which is not counted
            words[place % each] |= BYTE << np.uint64(8 * (place // each))
        value_before, square_before, count_before = NOTHING, NOTHING, NOTHING
        for kind in range(kinds - 1):
            cut = cuts[kind]
            value, square, count = NOTHING, NOTHING, NOTHING
            for byte in range(8):
                shift, begin = np.uint64(8 * byte), np.uint64(byte * each)
                for h in range(each):
                    taken = (words[h] >> shift) & BYTE < cut
                    bar = begin + np.uint64(h)
                    value += values[bar] if taken else NOTHING
                    square += squares[bar] if taken else NOTHING
                    count += UNIT if taken else NOTHING
            out[row, kind, 0] = value - value_before
            out[row, kind, 1] = square - square_before
            counts[kind] = count - count_before
            value_before, square_before, count_before = value, square, count
        counts[kinds - 1] = bars - count_before
        surplus = NOTHING
        for kind in range(kinds):
            surplus += max(NOTHING, counts[kind] - wanted[kind])
        position, changes = each, 0
        while surplus > 0:
            scaled = (word_nb(key, position) >> HALF) * wide
            position += 1
            bar = scaled >> HALF
            if (scaled & LOW) < unfair:
                continue
            now = np.int64(moved_to[bar])
            if now < 0:
                drawn = (words[bar % np.uint64(each)] >> (EIGHT * (bar // np.uint64(each)))) & BYTE
                now = NOTHING
                while now < kinds - 1 and drawn >= cuts[now]:
                    now += 1
            if counts[now] <= wanted[now]:
                continue
            other = 0
            while counts[other] >= wanted[other]:
                other += 1
            moved_to[bar] = np.int8(other)
            moved[changes] = np.uint32(bar)
            changes += 1
            surplus -= 1
            counts[now] -= 1
            counts[other] += 1
            if now < kinds - 1:
                out[row, now, 0] -= values[bar]
                out[row, now, 1] -= squares[bar]
            if other < kinds - 1:
                out[row, other, 0] += values[bar]
                out[row, other, 1] += squares[bar]
        for change in range(changes):
            moved_to[moved[change]] = np.int8(-1)


@njit(cache=True, nogil=True)
def single_nb(held: Floats, returns: Floats, seed: np.uint64, start: int, out: Floats) -> None:
    """One symbol, positions of any size: sums over the drawn bars of position times return, and of its square.

    ``held``: the positions that are not 0, shape (drawn,). A partial Fisher-Yates shuffle: only as many returns are
    drawn as bars have a position. Two accumulators, in a fixed order, hide the latency of the additions.
    """
    bars, drawn = returns.shape[0], held.shape[0]
    left = returns.copy()
    picks = np.empty(drawn + drawn % 2, dtype=np.uint32)
    sparse = 4 * drawn < bars
    for row in range(out.shape[0]):
        below_nb(stream_nb(seed, start + row), bars, 1, picks)
        sum_a, square_a, sum_b, square_b = 0.0, 0.0, 0.0, 0.0
        for h in range(drawn // 2):
            i = np.uint64(2 * h)
            j = i + np.uint64(picks[i])
            result = held[i] * left[j]
            left[j] = left[i]
            sum_a += result
            square_a += result * result
            i += ONE
            j = i + np.uint64(picks[i])
            result = held[i] * left[j]
            left[j] = left[i]
            sum_b += result
            square_b += result * result
        if drawn % 2:
            i = np.uint64(drawn - 1)
            result = held[i] * left[i + np.uint64(picks[i])]
            sum_a += result
            square_a += result * result
        out[row, 0] = sum_a + sum_b
        out[row, 1] = square_a + square_b
        if sparse:
            for h in range(drawn):
                j = np.uint64(h) + np.uint64(picks[h])
                left[j] = returns[j]
        else:
            for h in range(bars):  # numba's own copy of a whole array looks whether the two overlap, and takes longer
                left[h] = returns[h]


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
