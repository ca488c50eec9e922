"""The generator: the published sequence, exact uniformity, independence of replicates."""

import numpy as np
import pytest

from trading.quant.statistics.draws import below_nb, chances_nb, lowest_nb, ones_nb, seed_word, stream_nb, word_nb

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
    spare, drawn = count // 2, []
    for i in range(count):
        bound = first - step * i
        word = mixed((key + 0x9E3779B97F4A7C15 * (1 + i // 2)) & MASK)
        scaled = (word & 0xFFFFFFFF if i % 2 else word >> 32) * bound
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


@pytest.mark.parametrize("chance", [0, 1, 3 << 30, 2**31, 2**32 // 5, 2**32 - 1, 2**32])
def test_a_bit_is_one_where_a_number_is_below_the_chance(chance: int) -> None:
    """Bit b of word h: the number whose binary digits are bits b of the words drawn for h, the last digit first."""
    key, words = np.uint64(stream_nb(seed_word(9), 4)), 50
    out = np.empty(words, dtype=np.uint64)
    chances_nb(key, np.uint64(chance), out)
    zeros = (chance & -chance).bit_length() - 1 if chance else 0
    digits = max(32 - zeros, 0)
    for h in range(words):
        rows = [mixed((int(key) + 0x9E3779B97F4A7C15 * (d * words + h + 1)) & MASK) for d in range(digits)]
        for bit in range(64):
            # A random 1 stands for a digit 0 of the number where the chance has a 1, and for a 1 where it has a 0.
            number = 0
            for d, row in enumerate(rows):
                asked, drawn = chance >> (zeros + d) & 1, row >> bit & 1
                number |= (asked ^ drawn if asked else 1 ^ drawn) << d
            assert int(out[h]) >> bit & 1 == (number < chance >> zeros), (h, bit)


@pytest.mark.parametrize("share", [1 / 2, 0.2, 0.01, 0.97])
def test_chances_are_as_likely_as_they_say(share: float) -> None:
    """The share of ones within 5 standard errors: on the whole, at each place of a word, and after a one."""
    words = np.empty((400, 50), dtype=np.uint64)
    for index, row in enumerate(words):
        chances_nb(np.uint64(stream_nb(seed_word(3), index)), np.uint64(round(share * 2**32)), row)
    bits = np.unpackbits(words.view(np.uint8), bitorder="little").reshape(400, 50, 64)
    flat = bits.reshape(400, -1)
    after, beside, next_row = flat[:, 1:][flat[:, :-1] == 1], bits[:, 1:][bits[:, :-1] == 1], bits[1:][bits[:-1] == 1]
    for some in (flat, after, beside, next_row):
        assert abs(some.mean() - share) < 5 * np.sqrt(share * (1 - share) / some.size)
    places = bits.mean(axis=(0, 1))
    assert np.abs(places - share).max() < 5 * np.sqrt(share * (1 - share) / 20_000)


def test_bits_are_counted_and_found() -> None:
    for word in (1, 2, 3, 2**63, 0b1011000, 2**64 - 1, 0x9E3779B97F4A7C15):
        assert int(ones_nb(np.uint64(word))) == word.bit_count()
        assert int(lowest_nb(np.uint64(word))) == (word & -word).bit_length() - 1
    assert int(ones_nb(np.uint64(0))) == 0


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
