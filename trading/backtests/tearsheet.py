"""A run on one page: a file by itself, which loads nothing and runs nothing."""

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from trading.backtests import plots, tables, trials, verdicts
from trading.backtests.config import RunConfig
from trading.backtests.doubts import Doubts, ends
from trading.backtests.validation import Judged
from trading.backtests.verdicts import section
from trading.quant.engine import Result
from trading.quant.kernels import Floats, Integers
from trading.quant.records import OPEN, REASONS
from trading.quant.statistics import Trials, deflated_by, intervals

MOST_TRADES = 60
TRIALS = (1, 10, 100, 1_000)
"""For which the deflated Sharpe ratio is shown."""
ROLLING_POINTS = 500

STYLE = """
:root{color-scheme:light dark;--ground:#f5f6f8;--card:#fff;--ink:#181c24;--muted:#5b6472;--rule:#e1e5eb;
--accent:#2457d6;--good:#137a3a;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--ground:#0f1218;--card:#181c24;--ink:#e8ebf0;--muted:#9aa4b2;--rule:#2a303b;
--accent:#5b8bff;--good:#6ddb95;--bad:#ff9a92}}
*{box-sizing:border-box}body{margin:0 auto;max-width:1000px;padding:24px;background:var(--ground);color:var(--ink);
font:15px/1.5 system-ui,sans-serif}h1{font-size:24px;margin:0}h2{font-size:15px;margin:0 0 8px}
section{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:16px 18px;margin:16px 0}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(215px,1fr));gap:14px;margin:0}dl div{min-width:0}
dt{color:var(--muted);font-size:13px}dd{margin:0;font-size:20px;font-weight:600;font-variant-numeric:tabular-nums}
dd small,.note{color:var(--muted);font-size:13px;font-weight:400;display:block;margin:0}
code{font:12px/1.4 ui-monospace,monospace;overflow-wrap:anywhere}.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:13px}
th,td{text-align:right;padding:5px 12px 5px 0;border-bottom:1px solid var(--rule);white-space:nowrap}
th{color:var(--muted);font-weight:500}th:first-child,td:first-child{text-align:left}
svg{width:100%;height:auto;display:block}.grid{stroke:var(--rule)}.tick,.cell{fill:var(--muted);font-size:12px}
.cell{fill:var(--ink)}.line{fill:none;stroke:var(--accent);stroke-width:1.6;stroke-linejoin:round}
.area{fill:var(--accent);opacity:.14}.bar{fill:var(--accent);opacity:.45}.seen{stroke:var(--bad);stroke-width:2.5}
.end{stroke:var(--muted);stroke-width:1.5;stroke-dasharray:5 4}.mark{stroke:var(--muted);stroke-dasharray:3 4}
.gain{fill:var(--good)}.loss{fill:var(--bad)}.bad{color:var(--bad)}.none{fill:var(--rule);opacity:.5}
dl+.note{margin-top:12px}.chosen{fill:none;stroke:var(--ink);stroke-width:2.5}
""".strip()
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; form-action 'none'"


def page(config: RunConfig, result: Result, metrics: dict[str, Any], judged: Judged) -> bytes:
    """The page as HTML in UTF-8; the same run gives the same bytes."""
    title = f"{config.strategy.name} on {', '.join(config.traded)}"
    period = f"{config.timeframe}, {tables.times(result.time[:1])[0]} to {tables.times(result.time[-1:])[0]}"
    said = config.canonical()
    sections = [
        section("Result", _result(config, result, metrics, judged)),
        section("Deflated Sharpe ratio", _deflated(config, metrics)),
        section("What it cost", _costs(config, metrics)),
        section("Equity", plots.curve(result.time, result.equity, name="Equity", label=plots.plain)),
        section("Drawdown", _drawdown(result)),
        section(*_rolling(config, result)),
        section("Monthly returns, %", plots.months(result.time, result.equity, config.initial_cash)),
        *verdicts.sections(judged),
        section(*_trades(result)),
        section("Configuration", f"<code>{escape(said.decode())}</code>"),
    ]
    return document(title, f"{period} · run", hashlib.sha256(said).hexdigest(), sections)


def document(title: str, period: str, run_hash: str, sections: Sequence[str]) -> bytes:
    """A page of ``sections`` under a heading that names the run, as HTML in UTF-8."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f'<h1>{escape(title)}</h1><p class="note">{escape(period)} <code>{run_hash}</code></p>'
        f"{''.join(sections)}</body></html>\n"
    ).encode()


def sections_of(content: bytes) -> str:
    """The sections of a page that `page` made, to be shown on another page with styles of its own."""
    text = content.decode()
    return text[text.index("<section>") : text.rindex("</section>") + len("</section>")]


def figures(rows: Sequence[tuple[str, str, str]]) -> str:
    """Names, values and notes, side by side."""
    cells = (
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}{f'<small>{escape(note)}</small>' if note else ''}</dd></div>"
        for name, value, note in rows
    )
    return f"<dl>{''.join(cells)}</dl>"


def _result(config: RunConfig, result: Result, metrics: dict[str, Any], judged: Judged) -> str:
    interval = Doubts(config, result, judged)
    ruined = metrics["ruined_at"]
    warnings = [
        "" if ruined is None else f"The equity fell to zero at {ruined}; nothing was traded after.",
        metrics["untraded"] or "",
        metrics["misannualised"] or "",
    ]
    closed = result.trades[result.trades["reason"] != OPEN]
    hits = intervals.share(int((closed["pnl"] > 0.0).sum()), len(closed))
    factor, each = intervals.profit_factor(closed["pnl"]), intervals.mean(closed["return"])
    return (
        "".join(f'<p class="bad">{escape(warning)}</p>' for warning in warnings if warning)
        + figures(
            [
                ("Total return", percent(metrics["total_return"]), ends(interval.growth(lambda x: x - 1.0), percent)),
                ("Final equity", _money(metrics["final_equity"]), ends(interval.equity, _money)),
                ("Growth a year", percent(metrics["cagr"]), ends(interval.growth(interval.cagr), percent)),
                ("Sharpe ratio a year", two(metrics["sharpe"]), ends(interval.sharpe, two)),
                (
                    "Chance that it is above zero",
                    percent(metrics["probabilistic_sharpe"]),
                    "probabilistic Sharpe ratio",
                ),
                ("Sortino ratio a year", two(metrics["sortino"]), ends(interval.sortino, two)),
                ("Volatility a year", percent(metrics["volatility"]), ends(interval.volatility, percent)),
                ("Deepest drawdown", percent(metrics["max_drawdown"]), ends(interval.drawdown, percent)),
                ("Calmar ratio", two(metrics["calmar"]), ends(interval.calmar, two)),
                ("Closed trades", str(metrics["trades"]), ""),
                ("Trades that earned something", percent(metrics["hit_rate"]), ends(hits, percent)),
                ("Mean trade", percent(metrics["mean_trade"]), ends(each, percent)),
                ("Profit factor", two(metrics["profit_factor"]), ends(factor, two)),
                (
                    "Exposure",
                    percent(metrics["exposure"]),
                    f"in the market {percent(metrics['time_in_market'])} of bars",
                ),
            ]
        )
        + f'<p class="note">{escape(interval.how)}</p>'
    )


def _deflated(config: RunConfig, metrics: dict[str, Any]) -> str:
    """What is left of the Sharpe ratio if it was the best of so many."""
    record = trials.record_of(metrics)
    if record is None:
        return '<p class="note">There is no Sharpe ratio to deflate.</p>'
    periods = config.periods_per_year or 1.0
    rows = []
    for count in TRIALS:
        probability, threshold = deflated_by(record, Trials(count, 0.0))
        luck = f"luck gives {threshold * periods**0.5:.2f} a year"
        rows.append(("The only one" if count == 1 else f"Best of {count:,}", percent(probability), luck))
    words = (
        "The chance that the Sharpe ratio is real, had it been the best of so many tried that differ by chance alone."
        " How many were tried in fact is not for this file to say, as it goes on: the run's page counts them."
    )
    return f'<p class="note">{words}</p>{figures(rows)}'


def _costs(config: RunConfig, metrics: dict[str, Any]) -> str:
    model = config.execution.slippage.model
    slippage = f"{config.execution.slippage_bps:g} bps" if config.execution.slippage_bps else model.replace("_", " ")
    return figures(
        [
            ("Fees", _money(metrics["fees"]), f"{config.execution.fee_bps:g} bps of each fill"),
            ("Slippage", _money(metrics["slippage"]), slippage),
            ("Borrowing", _money(metrics["borrow"]), f"{config.execution.borrow_cost_bps:g} bps a year"),
            ("Turnover a year", two(metrics["turnover"]), "traded notional over mean equity"),
        ]
    )


def _drawdown(result: Result) -> str:
    fallen = result.equity / np.maximum.accumulate(result.equity) - 1.0
    return plots.curve(result.time, fallen, name="Drawdown", label=plots.percent, marks=(0.0,), fill=True)


def rolling_sharpe(equity: Floats, window: int, periods_per_year: float) -> tuple[Integers, Floats]:
    """The rows at which it was looked at, and the annualised Sharpe ratio of the ``window`` returns up to each."""
    rows = np.unique(np.linspace(window, len(equity) - 1, ROLLING_POINTS).astype(np.int64))
    returns = equity[1:] / np.where(equity[:-1] > 0.0, equity[:-1], np.nan) - 1.0
    sums, squares = (np.concatenate([[0.0], np.cumsum(returns**power)]) for power in (1, 2))
    mean = (sums[rows] - sums[rows - window]) / window
    variance = (squares[rows] - squares[rows - window] - window * mean**2) / (window - 1)
    varies = variance > 1e-12 * float(np.nanmax(returns**2, initial=0.0))  # sums leave rounding where nothing varies
    values = np.where(varies, mean / np.sqrt(np.where(varies, variance, 1.0)) * periods_per_year**0.5, np.nan)
    return rows, values


def _rolling(config: RunConfig, result: Result) -> tuple[str, str]:
    window = min(126, len(result.equity) // 4)
    heading = f"Rolling Sharpe ratio, {window} bars"
    if window < 10:
        return "Rolling Sharpe ratio", '<p class="note">There are too few bars.</p>'
    rows, values = rolling_sharpe(result.equity, window, config.periods_per_year or 1.0)
    return heading, plots.curve(result.time[rows], values, name=heading, label=plots.plain, marks=(0.0,))


def _trades(result: Result) -> tuple[str, str]:
    trades = result.trades
    if not len(trades):
        return "Trades", '<p class="note">None.</p>'
    last = trades[-MOST_TRADES:]
    entries, exits = tables.times(result.time[last["entry_bar"]]), tables.times(result.time[last["exit_bar"]])
    names = last.dtype.names or ()
    rows = "".join(
        f"<tr><td>{escape(result.symbols[trade['symbol']])}</td>"
        f"<td>{'long' if trade['direction'] > 0 else 'short'}</td>"
        f"<td>{entries[place]}</td><td>{exits[place]}</td><td>{trade['quantity']:.6g}</td>"
        f"<td>{trade['entry_price']:.6g}</td><td>{trade['exit_price']:.6g}</td><td>{trade['pnl']:,.2f}</td>"
        f"<td>{100 * trade['return']:.2f}%</td><td>{REASONS[trade['reason']]}</td></tr>"
        for place, trade in enumerate(dict(zip(names, row, strict=True)) for row in last.tolist())
    )
    heads = ("Symbol", "Side", "Entry", "Exit", "Quantity", "Entry price", "Exit price", "P&L", "Return", "Closed by")
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    heading = "Trades" if len(trades) <= MOST_TRADES else f"The last {MOST_TRADES} of {len(trades)} trades"
    return heading, f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def percent(value: float | None) -> str:
    """A fraction in per cent; a dash for none."""
    return "-" if value is None else f"{100 * value:.2f}%" if abs(value) < plots.BEYOND else f"{100 * value:.2e}%"


def two(value: float | None) -> str:
    """A number with two decimals; a dash for none."""
    return "-" if value is None else f"{value:.2f}" if abs(value) < 1e9 else f"{value:.2e}"


def _money(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"
