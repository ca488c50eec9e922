"""Random integers that are a function of (seed, replicate, position), and of nothing else.

A replicate's draws do not depend on which replicates were computed before it, in which process, or in chunks of what
size; that is what makes a distribution computed by several workers the same bytes as one computed by one.

The generator is SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", OOPSLA):
word i of a stream is ``mix(key + (i + 1) * GAMMA)``, so it needs no state and its loops vectorise. Streams are set
apart by keys that are themselves mixed from the seed and the replicate's index.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

Words = npt.NDArray[np.uint32]

GAMMA = np.uint64(0x9E3779B97F4A7C15)
FIRST = np.uint64(0xBF58476D1CE4E5B9)
SECOND = np.uint64(0x94D049BB133111EB)
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
ONE = np.uint64(1)
R30, R27, R31 = np.uint64(30), np.uint64(27), np.uint64(31)

LARGEST_BOUND = 2**32 - 1


def seed_word(seed: int) -> np.uint64:
    """A seed as the kernels take it. Raises ValueError outside 0 ... 2**64 - 1."""
    if not 0 <= seed < 2**64:
        raise ValueError(f"a seed lies between 0 and 2**64 - 1, {seed} does not")
    return np.uint64(seed)


@njit(cache=True, nogil=True, inline="always")
def mix_nb(z: np.uint64) -> np.uint64:
    """SplitMix64's finaliser: a bijection of 64-bit words in which each bit in depends on each bit out."""
    z = (z ^ (z >> R30)) * FIRST
    z = (z ^ (z >> R27)) * SECOND
    return z ^ (z >> R31)


@njit(cache=True, nogil=True)
def stream_nb(seed: np.uint64, index: int) -> np.uint64:
    """The key of replicate ``index``'s stream."""
    return mix_nb(mix_nb(seed) + GAMMA * np.uint64(index))


@njit(cache=True, nogil=True)
def word_nb(key: np.uint64, position: int) -> np.uint64:
    """Word ``position`` of a stream: 64 random bits."""
    return mix_nb(key + GAMMA * (np.uint64(position) + ONE))


@njit(cache=True, nogil=True)
def below_nb(key: np.uint64, first: int, step: int, out: Words) -> None:
    """Fill ``out`` (of even length) with independent integers, ``out[i]`` uniform on 0 ... first - step * i - 1.

    ``step`` is 0 (all alike) or 1 (the draws of a Fisher-Yates shuffle); a bound of 0 gives 0. Exactly uniform: a
    32-bit draw is scaled by a multiplication, and the few that would favour some value are drawn again (Lemire 2019,
    "Fast random integer generation in an interval", ACM TOMACS 29). Reads words 0 ... len(out) / 2 - 1, and, when
    some are drawn again, those that follow.
    """
    half = out.shape[0] // 2
    bound, down = np.uint64(first), np.uint64(step)
    middle = bound - down * np.uint64(half)
    least = LOW
    for h in range(half):
        z = mix_nb(key + GAMMA * (np.uint64(h) + ONE))
        high_bound = bound - down * np.uint64(h)
        low_bound = middle - down * np.uint64(h)
        high = (z >> HALF) * high_bound
        low = (z & LOW) * low_bound
        out[h] = np.uint32(high >> HALF)
        out[half + h] = np.uint32(low >> HALF)
        least = min(least, min(high & LOW, low & LOW))
    if least < bound:  # one may favour some value; seldom
        redraw_nb(key, bound, down, out)


@njit(cache=True, nogil=True)
def redraw_nb(key: np.uint64, bound: np.uint64, down: np.uint64, out: Words) -> None:
    """Draw again where `below_nb`'s scaling would favour some value: about one draw in 2**32 / bound."""
    half = out.shape[0] // 2
    spare = half
    for i in range(2 * half):
        here = bound - down * np.uint64(i)
        if here == 0:
            continue
        z = word_nb(key, i if i < half else i - half)
        scaled = ((z >> HALF) if i < half else (z & LOW)) * here
        threshold = (np.uint64(1 << 32) - here) % here
        while (scaled & LOW) < threshold:
            scaled = (word_nb(key, spare) >> HALF) * here
            spare += 1
        out[i] = np.uint32(scaled >> HALF)
