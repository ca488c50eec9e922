"""What the tests of a run said, as sections of its page: each null distribution with the line that was observed."""

from collections.abc import Mapping
from html import escape
from typing import Any

from trading.backtests import plots
from trading.backtests.validation import Judged

TITLES = {
    "lookahead": "Look-ahead and recursion check",
    "permutation": "Permutation test",
    "bootstrap": "Bootstrap",
    "monte_carlo": "Monte Carlo of trades",
    "walk_forward": "Walk-forward",
}
MEASURES = {"sharpe": "Sharpe ratio a year", "final_equity": "final equity", "drawdown": "deepest drawdown"}
Said = Mapping[str, Any]


def section(heading: str, body: str) -> str:
    """A card of the page; ``body`` is HTML."""
    return f"<section><h2>{escape(heading)}</h2>{body}</section>\n"


def sections(judged: Judged) -> list[str]:
    """A section for each test and measure, in the order in which they were made."""
    makers = {
        "lookahead": lambda said, _: _lookahead(said),
        "permutation": _permutation,
        "bootstrap": _bootstrap,
        "monte_carlo": _monte_carlo,
        "walk_forward": _walk_forward,
    }
    shown: list[str] = []
    for test, said in judged.summary.items():
        if "not_made" in said:
            shown.append(section(TITLES[test], _note(f"Not made: {said['not_made']}.")))
        else:
            shown += makers[test](said, judged)
    return shown


def lookahead(said: Said | None) -> list[str]:
    """The section of the look-ahead and recursion check by itself; none where there was nothing to check."""
    if said is None:
        return []
    if "not_made" in said:
        return [section(TITLES["lookahead"], _note(f"Not made: {said['not_made']}."))]
    return _lookahead(said)


def _note(words: str) -> str:
    return f'<p class="note">{escape(words)}</p>'


def _lookahead(said: Said) -> list[str]:
    words = f"Its answers did not change when later bars were taken away ({said['cuts']} cuts)."
    body = _note(words)
    if not said["honest"]:
        leaks = "".join(f"<li>{escape(leak)}</li>" for leak in said["leaks"][:10])
        body = f'<p class="bad">The strategy reads bars that have not happened yet.</p><ul>{leaks}</ul>'
    return [section(TITLES["lookahead"], body + _note(recursion(said)))]


def recursion(said: Said) -> str:
    """How much of the past the strategy needs, in a sentence; ``said`` is what the look-ahead check said."""
    history, first = said["history"], said["warm_up"] + 1
    if history is None:
        return (
            "What it says depends on where the data begin, to their last bar: with other first bars it would decide"
            " otherwise today. Before it trades, begin its data where its test began."
        )
    if history > first:
        return (
            f"It is recursive: it first speaks at bar {first}, and what it says depends on where the data begin until"
            f" bar {history}. Give it as many before the first that counts."
        )
    return f"What it says from bar {history} on does not depend on where the data begin: it is not recursive."


def _permutation(said: Said, judged: Judged) -> list[str]:
    what = "Sharpe ratio a year" if said["statistic"] == "sharpe" else "mean return a bar"
    words = (
        f"The {what} of the positions against the returns in {said['trials']} other orders; the line is what was"
        f" observed. p = {said['p_value']:.4f}."
    )
    null = judged.draws["permutation"]
    plot = plots.histogram(null, name=TITLES["permutation"], label=plots.plain, observed=said["observed"] or 0.0)
    return [section(TITLES["permutation"], _note(words) + plot)]


def _bootstrap(said: Said, judged: Judged) -> list[str]:
    words = f"At {said['level']:.0%}, in blocks of {said['block_length']:.1f} bars on average."
    return [_drawn("bootstrap", measure, said[measure], judged, words) for measure in MEASURES if measure in said]


def _monte_carlo(said: Said, judged: Judged) -> list[str]:
    drawn = "drawn with replacement" if said["replacement"] else "in other orders"
    words = (
        f"The closed trades {drawn}, {said['trials']} times; {said['probability_of_loss']:.1%} of them lose money,"
        f" {said['drawdown_rank']:.1%} fall as far as what was observed. At 95%."
    )
    measures = ("final_equity", "drawdown") if said["replacement"] else ("drawdown",)
    return [_drawn("monte_carlo", measure, said[measure], judged, words) for measure in measures]


def _drawn(test: str, measure: str, said: Said, judged: Judged, words: str) -> str:
    label = plots.percent if measure == "drawdown" else plots.plain
    low, high = said["low"], said["high"]
    ends = f"{label(low)} to {label(high)} (dashed). " if low is not None and high is not None else ""
    title = f"{TITLES[test]}: {MEASURES[measure]}"
    draws = judged.draws[f"{test}_{measure}"]
    plot = plots.histogram(draws, name=title, label=label, observed=said["observed"] or 0.0, low=low, high=high)
    return section(title, _note(ends + words) + plot)


def _walk_forward(said: Said, judged: Judged) -> list[str]:
    efficiency = "undefined" if said["efficiency"] is None else f"{said['efficiency']:.2f}"
    words = (
        f"The same parameters on each fold and on the bars before it. Efficiency {efficiency} (mean return in the"
        f" folds over the mean before them), {said['profitable_share']:.0%} of the folds earned something, Sharpe ratio"
        f" of the folds together {_two(said['out_of_sample_sharpe'])}."
    )
    rows = "".join(
        f"<tr><td>{fold['from']}</td><td>{fold['to']}</td><td>{_two(fold['in_sample_sharpe'])}</td>"
        f"<td>{_two(fold['out_of_sample_sharpe'])}</td></tr>"
        for fold in said["folds"]
    )
    heads = "<th>From</th><th>To</th><th>Sharpe before</th><th>Sharpe in the fold</th>"
    table = f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    return [section(TITLES["walk_forward"], _note(words) + table)]


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
