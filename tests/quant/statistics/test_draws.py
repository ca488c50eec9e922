"""The generator: the published sequence, exact uniformity, independence of replicates."""

import numpy as np
import pytest

from trading.quant.statistics.draws import below_nb, seed_word, stream_nb, word_nb

MASK = 2**64 - 1


def test_words_are_those_of_the_published_generator() -> None:
    """The first outputs of SplitMix64 from state 1234567, as printed with its reference code and in other libraries."""
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert [int(word_nb(np.uint64(1234567), i)) for i in range(5)] == expected


def mixed(z: int) -> int:
    """SplitMix64's finaliser in whole numbers."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def expected_draws(key: int, first: int, step: int, count: int) -> list[int]:
    """`below_nb` again, in Python's own integers, one draw after the other."""
    half, spare, drawn = count // 2, count // 2, []
    for i in range(count):
        bound = first - step * i
        word = mixed((key + 0x9E3779B97F4A7C15 * (1 + i % half)) & MASK)
        scaled = (word >> 32 if i < half else word & 0xFFFFFFFF) * bound
        while bound and scaled % 2**32 < 2**32 % bound:
            scaled = (mixed((key + 0x9E3779B97F4A7C15 * (1 + spare)) & MASK) >> 32) * bound
            spare += 1
        drawn.append(scaled >> 32)
    return drawn


@pytest.mark.parametrize(("first", "step"), [(5, 0), (50, 1), (3_000_000_001, 0), (4_000_000_000, 1)])
def test_draws_are_those_of_plain_integers(first: int, step: int) -> None:
    """Bounds near 2**32 make nearly every other draw a second one."""
    for index in range(20):
        key = np.uint64(stream_nb(seed_word(7), index))
        out = np.empty(50, dtype=np.uint32)
        below_nb(key, first, step, out)
        assert out.tolist() == expected_draws(int(key), first, step, 50)


def test_draws_are_uniform_and_replicates_unrelated() -> None:
    """Chi-square of 600,000 draws below 6 over 1,000 streams, and of pairs of neighbouring streams."""
    rows = np.empty((1000, 600), dtype=np.uint32)
    for index in range(1000):
        below_nb(np.uint64(stream_nb(seed_word(42), index)), 6, 0, rows[index])
    assert rows.max() == 5
    alone = np.bincount(rows.ravel(), minlength=6)
    assert ((alone - 1e5) ** 2 / 1e5).sum() < 20.5  # 99.9% of chi-square with 5 degrees
    pairs = np.bincount((rows[:-1] * 6 + rows[1:]).ravel(), minlength=36)
    mean = 999 * 600 / 36
    assert ((pairs - mean) ** 2 / mean).sum() < 66.7  # 99.9% with 35 degrees


def test_no_two_seeds_share_a_stream() -> None:
    """Neighbours, and seeds as far apart as two indices are."""
    seeds = [0, 1, 2, 0x9E3779B97F4A7C15, 2**63, 2**64 - 1]
    keys = {int(stream_nb(seed_word(seed), index)) for seed in seeds for index in range(1_000)}
    assert len(keys) == len(seeds) * 1_000


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_outside_64_bits_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match=str(seed)):
        seed_word(seed)
    assert seed_word(2**64 - 1) == 2**64 - 1
