"""``.oracles/bin/python -m benchmarks.statistics``: the statistics beside numpy and arch, in one run on two cores.

Compiled kernels warm, the best of several rounds in which everybody takes turns. What runs on one thread is timed by
the processor's clock, so that a busy machine does not flatter the quick, who find a free moment, against the slow, who
do not; ours on two threads is timed by the wall's, which flatters nobody. numpy is written as its users write it: a
generator's own `permutation`, `integers` and `random`, whole arrays at a time, one loop over the replicates. arch draws
by its own `StationaryBootstrap.apply`. Neither uses a second core.

The answer is JSON: milliseconds, and how many times as long the others take as ours on two threads (``ratio``) and on
one (``ratio_one_thread``). ``target``: what each permutation and each bootstrap has to reach on the two cores.
`make oracles` installs arch; without it its figures are left out.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from itertools import combinations, cycle

import numpy as np

from trading.quant.statistics import (
    Bootstrap,
    CrossValidation,
    PermutationTest,
    SuperiorityTest,
    block_length,
    evaluate,
)

BARS, REPLICATES, CORES = 5_000, 1_000, 2
TARGET = 20.0
Call = Callable[[], object]


def sharpe(returns: np.ndarray) -> float:
    return float(returns.mean() / returns.std(ddof=1))


def measured(returns: np.ndarray) -> np.ndarray:
    """Mean, Sharpe ratio, final equity, drawdown."""
    equity = np.cumprod(1 + returns)
    fall = np.max(1 - equity / np.maximum.accumulate(np.maximum(equity, 1.0)))
    return np.array([returns.mean(), returns.mean() / returns.std(ddof=1), equity[-1], fall])


def numpy_permutations(positions: np.ndarray, returns: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.array([sharpe(rng.permutation(positions) * returns) for _ in range(REPLICATES)])


def numpy_bootstraps(returns: np.ndarray, length: float, measure: Callable[[np.ndarray], object]) -> np.ndarray:
    rng, bar = np.random.default_rng(1), np.arange(BARS)
    found = []
    for _ in range(REPLICATES):
        begins = rng.random(BARS) < 1 / length
        begins[0] = True
        last = np.maximum.accumulate(np.where(begins, bar, 0))
        found.append(measure(returns[(rng.integers(0, BARS, BARS)[last] + bar - last) % BARS]))
    return np.array(found)


def numpy_combinations(returns: np.ndarray, blocks: int) -> float:
    pieces = np.array_split(returns, blocks)
    below = 0
    every = list(combinations(range(blocks), blocks // 2))
    for chosen in every:
        inside = np.concatenate([pieces[i] for i in chosen])
        outside = np.concatenate([pieces[i] for i in range(blocks) if i not in chosen])
        best = np.argmax(inside.mean(0) / inside.std(0, ddof=1))
        there = outside.mean(0) / outside.std(0, ddof=1)
        below += (there < there[best]).sum() + 1 <= (returns.shape[1] + 1) / 2
    return below / len(every)


def cases(threads: ThreadPoolExecutor) -> dict[str, dict[str, Call]]:
    """By case: what each contender does."""
    rng = np.random.default_rng(0)
    returns = rng.standard_t(5, BARS) * 0.01
    strategies = rng.normal(0, 0.01, (1_250, 100))
    positions = {
        "long or flat": (np.sin(np.arange(BARS) / 40) + rng.normal(0, 0.3, BARS) > 0).astype(float),
        "long, flat or short": rng.integers(-1, 2, BARS).astype(float),
        "a tenth of the time": (rng.random(BARS) < 0.1).astype(float),
        "any size": rng.normal(0, 1, BARS),
    }
    found: dict[str, dict[str, Call]] = {}
    for name, held in positions.items():
        found[f"permutation, {name}"] = {
            "ours": lambda held=held: evaluate(PermutationTest(held, returns)),
            "ours, 2 threads": lambda held=held: evaluate(PermutationTest(held, returns), executor=threads),
            "numpy": lambda held=held: numpy_permutations(held, returns),
        }
    for label, names, measure in (
        ("mean and Sharpe", ("mean", "sharpe"), lambda x: np.array([x.mean(), sharpe(x)])),
        ("all four", ("mean", "sharpe", "final_equity", "drawdown"), measured),
    ):
        for length in (2.0, 5.0, 10.0, 20.0):

            def ours(pool: ThreadPoolExecutor | None, length: float = length, names: tuple = names) -> object:
                return evaluate(Bootstrap(returns, block_length=length, measures=names), executor=pool)

            found[f"bootstrap, {label}, blocks of {length:.0f}"] = {
                "ours": lambda ours=ours: ours(None),
                "ours, 2 threads": lambda ours=ours: ours(threads),
                "numpy": lambda length=length, measure=measure: numpy_bootstraps(returns, length, measure),
                "arch": lambda length=length, measure=measure: arch_bootstraps(returns, length, measure),
            }
    found["block length"] = {"ours": lambda: block_length(returns), "arch": lambda: arch_length(returns)}
    found["SPA, 100 strategies"] = {
        "ours": lambda: evaluate(SuperiorityTest(strategies, block_length=5.0)),
        "ours, 2 threads": lambda: evaluate(SuperiorityTest(strategies, block_length=5.0), executor=threads),
        "arch": lambda: arch_spa(strategies),
    }
    found["overfitting, 100 strategies, 10 blocks"] = {
        "ours": lambda: evaluate(CrossValidation(strategies, blocks=10)),
        "numpy": lambda: numpy_combinations(strategies, 10),
    }
    return found


def arch_bootstraps(returns: np.ndarray, length: float, measure: Callable[[np.ndarray], object]) -> object:
    from arch.bootstrap import StationaryBootstrap

    return StationaryBootstrap(length, returns, seed=1).apply(measure, REPLICATES)


def arch_length(returns: np.ndarray) -> object:
    from arch.bootstrap import optimal_block_length

    return optimal_block_length(returns)


def arch_spa(strategies: np.ndarray) -> object:
    from arch.bootstrap import SPA

    test = SPA(np.zeros(len(strategies)), -strategies, block_size=5, reps=REPLICATES, seed=1)
    test.compute()
    return test.pvalues


def milliseconds(calls: dict[str, Call], rounds: int) -> dict[str, float]:
    """The best of ``rounds`` for each, once compiled; in turns, and each for as long as the slowest takes for one."""
    for call in calls.values():
        call()
    best = {name: clocked(name, call) for name, call in calls.items()}
    turn = max(best.values())
    for _ in range(rounds):
        for name, call in calls.items():
            for _ in range(max(int(turn / best[name]), 1)):
                best[name] = min(best[name], clocked(name, call))
    return best


def clocked(name: str, call: Call) -> float:
    """Milliseconds of one call: of the processor's time, or where it has two threads of the wall's."""
    clock = time.perf_counter if name.endswith("threads") else time.process_time
    began = clock()
    call()
    return 1e3 * (clock() - began)


def ratios(row: dict[str, float], ours: str) -> dict[str, float]:
    """How many times as long as ``ours`` the others take."""
    return {who: round(row[who] / row[ours], 1) for who in ("numpy", "arch") if who in row and ours in row}


def settle(numbers: Iterator[int]) -> None:
    """Keep a thread on a core of its own, or the system at times has two of them share one."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[next(numbers) % len(cores)]})


def main() -> None:
    """Print the figures as JSON; exit with 1 where a target is missed."""
    parser = argparse.ArgumentParser(description="the statistics beside plain numpy and arch")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with ThreadPoolExecutor(CORES, initializer=settle, initargs=(cycle(range(CORES)),)) as threads:
        every = cases(threads)
        if find_spec("arch") is None:
            every = {name: {who: call for who, call in row.items() if who != "arch"} for name, row in every.items()}
        table = {name: milliseconds(row, options.rounds) for name, row in every.items()}
    found: dict[str, dict[str, object]] = {}
    missed = []
    for name, row in table.items():
        ratio = ratios(row, "ours, 2 threads")
        found[name] = {
            "ms": {who: round(taken, 3) for who, taken in row.items()},
            "ratio": ratio,
            "ratio_one_thread": ratios(row, "ours"),
        }
        if name.startswith(("permutation", "bootstrap")):
            found[name]["target"] = TARGET
            missed += [f"{name}: {times} x {who}" for who, times in ratio.items() if times < TARGET]
    print(
        json.dumps({"replicates": REPLICATES, "bars": BARS, "cores": CORES, "cases": found, "missed": missed}, indent=1)
    )
    if missed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
