"""``.oracles/bin/python -m tests.quant.statistics.record``: what arch and scipy say, written to recorded.json.

The ordinary tests compare with that file (test_recorded.py); `make oracles` checks that the libraries still say so.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from arch.bootstrap import SPA, RealityCheck, StationaryBootstrap, optimal_block_length
from scipy import stats

from tests.quant.statistics.series import pairings, returns, strategies

FILE = Path(__file__).with_name("recorded.json")
REPLICATES = 20_000
LENGTH = 5.0


def measured(values: np.ndarray) -> np.ndarray:
    """Mean, Sharpe ratio, final equity, drawdown."""
    equity = np.concatenate([[1.0], np.cumprod(1 + values)])
    fall = np.max(1 - equity / np.maximum.accumulate(equity))
    return np.array([values.mean(), values.mean() / values.std(ddof=1), equity[-1], fall])


def record() -> dict[str, Any]:
    """Everything, as JSON."""
    tails = [1e-300, 1e-50, 1e-12, 1e-6, 0.01, 0.3, 0.5, 0.8, 0.999, 1 - 1e-12]
    return {
        "normal": {
            "quantile": {repr(p): float(stats.norm.ppf(p)) for p in tails},
            "cdf": {repr(x): float(stats.norm.cdf(x)) for x in (-37.0, -12.0, -8.3, -3.0, -0.5, 0.0, 1.0, 4.0, 8.0)},
        },
        "moments": {
            name: [float(stats.skew(values)), float(stats.kurtosis(values, fisher=False))]
            for name, values in returns().items()
        },
        "block_length": {
            name: float(optimal_block_length(values)["stationary"].iloc[0]) for name, values in returns().items()
        },
        "bootstrap": {name: bootstrap(values) for name, values in returns().items() if name != "long"},
        "superiority": {name: superiority(values) for name, values in strategies().items()},
        "permutation": {name: permutation(*pair) for name, pair in pairings().items()},
    }


def bootstrap(values: np.ndarray) -> dict[str, list[float]]:
    """Standard deviation and quantiles of each measure over arch's replicates."""
    draws = StationaryBootstrap(LENGTH, values, seed=7).apply(measured, REPLICATES)
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    return {
        name: [float(draws[:, i].std(ddof=1)), *np.quantile(draws[:, i], levels).tolist()]
        for i, name in enumerate(("mean", "sharpe", "final_equity", "drawdown"))
    }


def superiority(excess: np.ndarray) -> dict[str, float]:
    """arch works with losses: the benchmark's are 0, a model's are minus its excess returns.

    Its SPA computes Hansen's standard errors but takes the maximum of means that are not divided by them. Dividing the
    losses beforehand gives the studentised test, since the standard error of what was divided is 1.
    """
    options = {"block_size": LENGTH, "reps": REPLICATES, "bootstrap": "stationary", "seed": 7}
    nothing = np.zeros(len(excess))
    found = {}
    check = RealityCheck(nothing, -excess, **options)
    check.compute()
    found["reality_check"] = float(check.pvalues["upper"])
    plain = SPA(nothing, -excess, **options)
    plain.compute()
    for name, p in plain.pvalues.items():
        found[f"plain_{name}"] = float(p)
    divided = SPA(nothing, -excess / np.sqrt(plain._loss_diff_var), **options)
    divided.compute()
    for name, p in divided.pvalues.items():
        found[f"studentised_{name}"] = float(p)
    return found


def permutation(positions: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """Exact p-values, over every order."""

    def mean(order: np.ndarray) -> float:
        return float((positions * order).mean())

    def sharpe(order: np.ndarray) -> float:
        earned = positions * order
        return float(earned.mean() / earned.std(ddof=1))

    found = {}
    for name, statistic in (("mean", mean), ("sharpe", sharpe)):
        test = stats.permutation_test(
            (values,), statistic, permutation_type="pairings", alternative="greater", n_resamples=np.inf
        )
        found[name] = float(test.pvalue)
    return found


if __name__ == "__main__":
    FILE.write_text(json.dumps(record(), indent=1) + "\n")
    print(f"{FILE.name}: written")
