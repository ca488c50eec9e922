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
Bits = npt.NDArray[np.uint64]

GAMMA = np.uint64(0x9E3779B97F4A7C15)
FIRST = np.uint64(0xBF58476D1CE4E5B9)
SECOND = np.uint64(0x94D049BB133111EB)
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
ONE = np.uint64(1)
R30, R27, R31 = np.uint64(30), np.uint64(27), np.uint64(31)

LARGEST_BOUND = 2**32 - 1
WORD = 64
"""Bits of a word; of many bars, one bit each, bar 0 has the last bit of the first word."""


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
    "Fast random integer generation in an interval", ACM TOMACS 29). Reads words 0 ... len(out) / 2 - 1, each for two
    neighbours, and, when some are drawn again, those that follow.
    """
    pairs = out.view(np.uint64)
    down = np.uint64(step)
    bound, state, least = np.uint64(first), key, LOW
    for h in range(pairs.shape[0]):
        state += GAMMA
        z = mix_nb(state)
        # Bounds fit in 32 bits; saying so makes the multiplications narrow ones.
        high = (z >> HALF) * (bound & LOW)
        low = (z & LOW) * ((bound - down) & LOW)
        pairs[h] = (high >> HALF) | (low & ~LOW)
        least = min(least, min(high & LOW, low & LOW))
        bound -= down + down
    if least < np.uint64(first):  # one may favour some value; seldom
        redraw_nb(key, np.uint64(first), down, out)


@njit(cache=True, nogil=True)
def redraw_nb(key: np.uint64, bound: np.uint64, down: np.uint64, out: Words) -> None:
    """Draw again where `below_nb`'s scaling would favour some value: about one draw in 2**32 / bound."""
    spare = out.shape[0] // 2
    for i in range(out.shape[0]):
        here = bound - down * np.uint64(i)
        if here == 0:
            continue
        z = word_nb(key, i // 2)
        scaled = ((z & LOW) if i % 2 else (z >> HALF)) * here
        threshold = (np.uint64(1 << 32) - here) % here
        while (scaled & LOW) < threshold:
            scaled = (word_nb(key, spare) >> HALF) * here
            spare += 1
        out[i] = np.uint32(scaled >> HALF)


@njit(cache=True, nogil=True)
def chances_nb(key: np.uint64, chance: np.uint64, out: Bits) -> None:
    """Fill ``out`` with words whose bits are independent, each 1 with probability ``chance`` / 2**32.

    Each bit says whether a uniform number lies below the probability, and 64 are compared at once, digit by binary
    digit from the last. Where the probability has a 1, a number is below it if its own digit is 0, or else if the
    digits behind say so; where it has a 0, only if its own is 0 and the digits behind say so. That is an OR and an AND
    with random words, so that a half takes one word, and whatever has d digits takes d.
    """
    if chance > LOW:
        out[:] = ~np.uint64(0)
        return
    if chance == 0:
        out[:] = 0
        return
    digit = 0
    while not (chance >> np.uint64(digit)) & ONE:
        digit += 1
    state = key
    for h in range(out.shape[0]):
        state += GAMMA
        out[h] = mix_nb(state)
    for place in range(digit + 1, 32):
        state = key + GAMMA * np.uint64(out.shape[0] * (place - digit))
        if (chance >> np.uint64(place)) & ONE:
            for h in range(out.shape[0]):
                state += GAMMA
                out[h] |= mix_nb(state)
        else:
            for h in range(out.shape[0]):
                state += GAMMA
                out[h] &= mix_nb(state)


@njit(cache=True, nogil=True, inline="always")
def ones_nb(word: np.uint64) -> np.uint64:
    """How many bits are 1. The compiler knows the loop and has an instruction for it."""
    count = np.uint64(0)
    while word:
        word &= word - ONE
        count += ONE
    return count


@njit(cache=True, nogil=True, inline="always")
def lowest_nb(word: np.uint64) -> np.uint64:
    """The place of the last 1 of a word that has one; 0 is the last place."""
    return ones_nb((word - ONE) & ~word)
