"""The series that other libraries were asked about; ``RandomState`` draws the same in every version of numpy."""

import numpy as np

Array = np.ndarray


def returns() -> dict[str, Array]:
    """Returns per period by name: independent, dependent, fat-tailed, long."""
    rng = np.random.RandomState(20240131)
    noise = 0.0005 + 0.01 * rng.standard_normal(600)
    momentum = np.zeros(600)
    for t, shock in enumerate(0.01 * rng.standard_normal(600)):
        momentum[t] = 0.5 * momentum[t - 1] + shock
    slow = np.convolve(0.01 * rng.standard_normal(1_011), np.ones(12) / 12, mode="valid")
    return {
        "noise": noise,
        "momentum": momentum + 0.001,
        "reversal": np.diff(0.01 * rng.standard_normal(301)),
        "slow": slow,
        "fat_tails": 0.01 * rng.standard_t(3, 900),
        "long": 0.01 * rng.standard_normal(5_000),
    }


def strategies() -> dict[str, Array]:
    """Excess returns of several strategies, shape (bars, strategies)."""
    rng = np.random.RandomState(20240201)
    alike = 0.01 * rng.standard_normal((400, 6))
    one_good = alike.copy()
    one_good[:, 2] += 0.0012
    some_poor = 0.01 * rng.standard_normal((400, 6)) * np.array([1, 1, 1, 4, 4, 4])
    some_poor[:, 3:] -= 0.01
    some_poor[:, 0] += 0.0008
    return {"alike": alike, "a_little": alike + 0.0006, "one_good": one_good, "some_poor": some_poor}


def pairings() -> dict[str, tuple[Array, Array]]:
    """Positions and returns, short enough for every order to be tried."""
    rng = np.random.RandomState(20240202)
    return {
        "signs": (np.array([1.0, 1.0, 0.0, -1.0, 0.0, 1.0, -1.0]), 0.01 * rng.standard_normal(7)),
        "weights": (rng.uniform(-1, 1, 7), 0.01 * rng.standard_normal(7)),
    }
