"""What several indicators and sizings build on: prefix sums, and the mean and deviation of one window."""

import numpy as np

from trading.quant.kernels import Floats, kernel


@kernel
def prefix_sums_nb(values: Floats) -> Floats:
    """Shape (T + 1,): the sum of what lies before each row, counted from the first value.

    Counting from the first value keeps the sums small, so that the difference of two loses few digits, and exact for a
    price that does not move.
    """
    sums = np.empty(values.shape[0] + 1)
    total = 0.0
    sums[0] = 0.0
    for t in range(values.shape[0]):
        total += values[t] - values[0]
        sums[t + 1] = total
    return sums


@kernel
def mean_nb(values: Floats, window: int, result: Floats) -> None:
    """The mean of the last ``window`` values, NaN before there are so many."""
    bars = values.shape[0]
    result[: window - 1] = np.nan
    if bars >= window:
        sums = prefix_sums_nb(values)
        for t in range(window - 1, bars):
            result[t] = (sums[t + 1] - sums[t + 1 - window]) / window + values[0]


@kernel
def moments_nb(values: Floats, last: int, window: int, less: int) -> tuple[float, float]:
    """Mean and standard deviation of the ``window`` values that end in row ``last``; ``less`` is ddof.

    Two passes over the window: slower than running sums, but a deviation near zero keeps its digits.
    """
    first = values[last + 1 - window]
    mean = 0.0
    for t in range(last + 1 - window, last + 1):
        mean += values[t] - first
    mean = mean / window + first
    squares = 0.0
    for t in range(last + 1 - window, last + 1):
        squares += (values[t] - mean) ** 2
    return mean, np.sqrt(squares / (window - less))
