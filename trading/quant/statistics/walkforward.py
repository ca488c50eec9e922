"""Walk-forward: fit on the past, test on what came next, move on. Index ranges and what the tests add up to."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from trading.quant.statistics.replication import Floats
from trading.quant.statistics.sharpe import Record


@dataclass(frozen=True, slots=True)
class Split:
    """Bars to fit on and bars to test on, as ranges of indices; the test comes after."""

    train: range
    test: range


def walk_forward(
    bars: int, *, train: int, test: int, anchored: bool = False, purge: int = 0, embargo: int = 0
) -> Iterator[Split]:
    """Splits of ``bars`` bars, oldest first.

    Tests of ``test`` bars follow each other without overlap and end with the last bar; bars that do not fill a test are
    left at the beginning. Training is rolling (the last ``train`` bars that may be used) or anchored (all from the
    first, at least ``train``). Between training and test ``purge + embargo`` bars are used by neither: ``purge`` is how
    many bars ahead a label looks, so that no label of the training was made with a bar of the test; ``embargo`` lets
    dependence die away. Sources: Pardo (2008), "The evaluation and optimization of trading strategies", chapter 11;
    López de Prado (2018), "Advances in financial machine learning", section 7.4.

    Raises ValueError for lengths below 1, gaps below 0, and when not even one split fits.
    """
    if train < 1 or test < 1 or purge < 0 or embargo < 0:
        raise ValueError("train and test are at least 1 bar, purge and embargo at least 0")
    gap = purge + embargo
    count = (bars - train - gap) // test
    if count < 1:
        raise ValueError(f"{bars} bars are too few: one split takes {train + gap + test}")
    return _splits(bars - count * test, bars, train, test, anchored, gap)


def _splits(first: int, bars: int, train: int, test: int, anchored: bool, gap: int) -> Iterator[Split]:
    for begin in range(first, bars, test):
        end = begin - gap
        yield Split(train=range(0 if anchored else end - train, end), test=range(begin, begin + test))


@dataclass(frozen=True, eq=False, slots=True)
class WalkForwardResult:
    """In and out of sample, split by split (arrays of shape (splits,)) and together.

    ``efficiency``: mean return out of sample over mean return in sample. Both are per period, so that annualising
    would cancel; nan where nothing was earned in sample, because then there is nothing to keep. Pardo asks for 0.5.
    ``out_of_sample``: the record of all tests joined, the only part that was not fitted.
    """

    in_sample_mean: Floats
    out_of_sample_mean: Floats
    in_sample_sharpe: Floats
    out_of_sample_sharpe: Floats
    efficiency: float
    profitable_share: float
    out_of_sample: Record


def summarise(pairs: Iterable[tuple[Floats, Floats]]) -> WalkForwardResult:
    """From (returns in sample, returns out of sample) of each split, in order; each per period, at least 2 long.

    In sample the splits weigh alike; out of sample the bars do. Raises ValueError for no split or what is no record.
    """
    fitted, tested = [], []
    for inside, outside in pairs:
        fitted.append(np.asarray(inside, dtype=np.float64))
        tested.append(np.asarray(outside, dtype=np.float64))
    if not fitted:
        raise ValueError("a walk-forward needs at least one split")
    before, after = [Record.of(one) for one in fitted], [Record.of(one) for one in tested]
    in_mean = np.array([one.mean() for one in fitted])
    out_mean = np.array([one.mean() for one in tested])
    joined = np.concatenate(tested)
    earned = float(in_mean.mean())
    return WalkForwardResult(
        in_sample_mean=in_mean,
        out_of_sample_mean=out_mean,
        in_sample_sharpe=np.array([one.sharpe for one in before]),
        out_of_sample_sharpe=np.array([one.sharpe for one in after]),
        efficiency=float(joined.mean()) / earned if earned > 0.0 else float("nan"),
        profitable_share=float(np.mean(out_mean > 0.0)),
        out_of_sample=Record.of(joined),
    )
