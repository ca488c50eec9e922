"""Kernels of the permutation test: sums of permuted results and of their squares, three ways to draw the same thing.

Whichever is used, row i of ``out`` is replicate ``start + i``, and each pairing of positions with returns is equally
likely.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from trading.quant.statistics.draws import ONE, WORD, Bits, below_nb, chances_nb, ones_nb, stream_nb
from trading.quant.statistics.replication import Floats

Fixed = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int64]

ROWS = 256
"""Replicates at a time: the more, the less their tables of subsets cost each; the fewer, the less memory."""
GROUPS = 4
"""Tables of subsets that the processor's first cache has room for."""
NOTHING = np.int64(0)
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

    ``out``: shape (rows, sizes - 1, 2), without the last size, which has to be the most frequent. Meant for sizes that
    are not rare: to find a bar of a rare size takes long.
    """
    bars = first.shape[0]
    words = (bars + WORD - 1) // WORD
    left = np.empty((min(ROWS, out.shape[0]), words), dtype=np.uint64)
    chosen = np.empty_like(left)
    out[:] = 0
    for begin in range(0, out.shape[0], ROWS):
        rows = min(ROWS, out.shape[0] - begin)
        left[:] = ~np.uint64(0)
        if bars % WORD:
            left[:, -1] = (ONE << np.uint64(bars % WORD)) - ONE
        among = bars
        for kind in range(wanted.shape[0] - 1):
            for row in range(rows):
                key = stream_nb(stream_nb(seed, start + begin + row), kind)
                choose_nb(key, bars, among, wanted[kind], left[row], chosen[row])
            subsets_nb(first, second, chosen, out[begin : begin + rows, kind])
            among -= wanted[kind]


@njit(cache=True, nogil=True)
def choose_nb(key: np.uint64, bars: int, among: int, wanted: int, left: Bits, chosen: Bits) -> None:
    """Take ``wanted`` of the ``among`` bars that have a bit in ``left`` to ``chosen``; each choice is equally likely.

    Every bar tosses a coin, with about the right probability. If too many are chosen then, bars are drawn and those
    that are chosen put back, until the number is right; and if too few, the other way. Neither the tosses nor the
    draws treat one bar unlike another, so that no choice of that number is likelier than the next.
    """
    chances_nb(stream_nb(key, 0), np.uint64(round(256.0 * wanted / among)) << np.uint64(24), chosen)
    surplus = -wanted
    for word in range(left.shape[0]):
        chosen[word] &= left[word]
        surplus += int(ones_nb(chosen[word]))
    if surplus < 0:  # choose whom not to choose
        for word in range(left.shape[0]):
            chosen[word] ^= left[word]
    draws = np.empty(WORD, dtype=np.uint32)
    few, change = surplus < 0, np.uint64(abs(surplus))
    batch = 0
    while change:
        batch += 1
        below_nb(stream_nb(key, batch), bars, 0, draws)
        for draw in draws:
            bar = np.uint64(draw)
            at, place = bar // np.uint64(WORD), bar % np.uint64(WORD)
            there = (chosen[at] >> place) & ONE if change else np.uint64(0)
            chosen[at] ^= there << place
            change -= there
    for word in range(left.shape[0]):
        if few:
            chosen[word] ^= left[word]
        left[word] ^= chosen[word]


@njit(cache=True, nogil=True)
def subsets_nb(first: Fixed, second: Fixed, chosen: Bits, out: Fixed) -> None:
    """Add to row i of ``out`` the sums of ``first`` and ``second`` over the bars with a bit in row i of ``chosen``.

    The sums over all subsets of eight neighbours are worked out once, for all rows: Arlazarov, Dinic, Kronrod and
    Faradzev (1970), "On economical construction of the transitive closure of a directed graph".
    """
    sums = np.zeros((GROUPS, 256, 2), dtype=np.int64)
    for begin in range(0, first.shape[0], 8 * GROUPS):
        for group in range(GROUPS):
            for k in range(8):
                bar = begin + 8 * group + k
                value = first[bar] if bar < first.shape[0] else NOTHING
                square = second[bar] if bar < first.shape[0] else NOTHING
                for subset in range(1 << k):
                    sums[group, (1 << k) + subset, 0] = sums[group, subset, 0] + value
                    sums[group, (1 << k) + subset, 1] = sums[group, subset, 1] + square
        word, shift = begin // WORD, np.uint64(begin % WORD)
        for row in range(out.shape[0]):
            bits = chosen[row, word] >> shift
            value, square = out[row, 0], out[row, 1]
            for group in range(GROUPS):
                value += sums[group, bits & BYTE, 0]
                square += sums[group, bits & BYTE, 1]
                bits >>= EIGHT
            out[row, 0], out[row, 1] = value, square


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
