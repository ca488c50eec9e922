"""The execution cycle of one client: from the liquid universe to target weights, orders, fills and a snapshot."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import numpy as np
from django.conf import settings

from trading.backtests import following
from trading.backtests.models import Promotion
from trading.brokers.accounts import open_session
from trading.brokers.base import Broker, BrokerError, BrokerRefused, Side
from trading.brokers.registry import UnknownBroker, is_simulated
from trading.execution import planning, selectors, services
from trading.execution.exposure import STALE_AFTER
from trading.execution.models import Order
from trading.execution.states import AT_VENUE, OrderState
from trading.jobs.context import StepContext
from trading.jobs.models import JobRun
from trading.jobs.outcomes import PermanentError, RetryLater
from trading.jobs.registry import Cadence, Job, NoArguments, Step
from trading.jobs.states import State
from trading.marketdata import selectors as market
from trading.marketdata.services import DAILY
from trading.marketdata.spacing import TIMEFRAMES
from trading.quant.momentum import liquidity, momentum, target_weights
from trading.tenants import parameters

T = TypeVar("T")
HISTORY_BARS = 66
"""A quarter of trading days and the five that momentum skips."""


def universe(ctx: StepContext, args: NoArguments) -> dict[str, Any]:
    """The symbols of the strategy that was promoted; without one, those with enough history, by what is traded of them.

    Of several promotions in force the newest is followed.
    """
    _refuse_mixed_books(ctx.client_id, ctx.now)
    promotion = _followed(lambda: following.chosen(ctx.client_id, settings.QT_EXECUTION_EXCHANGE))
    if promotion is not None:
        config = following.config_of(promotion)
        _refuse_made_up(config.traded, config.timeframe)
        _refuse_stale(config.traded, config.timeframe, ctx.now)
        return {
            "symbols": [{"symbol": symbol} for symbol in config.traded],
            "promotion": str(promotion.id),
            "strategy": promotion.strategy,
            "params": config.strategy.params,
            "run_hash": promotion.run_hash,
        }
    symbols = parameters.in_force(ctx.client_id).symbols
    _refuse_made_up(symbols, DAILY)
    histories = [market.history(symbol, bars=HISTORY_BARS) for symbol in symbols]
    found = [history for history in histories if history is not None]
    if not found:
        raise PermanentError(
            f"No symbol has {HISTORY_BARS} candles yet. Run market-refresh, or manage.py import_candles FILE."
        )
    newest = max(history.last_time for history in found)
    today = ctx.now if _moves_money() else newest
    fresh = [history for history in found if today - history.last_time <= TIMEFRAMES[DAILY] + STALE_AFTER]
    if not fresh:
        raise _stale([history.symbol for history in found])
    values = liquidity(
        np.column_stack([history.closes for history in fresh]), np.column_stack([history.volumes for history in fresh])
    )
    ranked = sorted(zip(fresh, values, strict=True), key=lambda pair: -pair[1])
    return {
        "as_of": newest.isoformat(),
        "symbols": [{"symbol": history.symbol, "traded_per_day": f"{value:.0f}"} for history, value in ranked],
        "left_out": sorted(set(symbols) - {history.symbol for history in fresh}),
    }


def _refuse_mixed_books(client_id: UUID, now: datetime) -> None:
    """Nor an order that limits would judge by what was only simulated: a client has one book for all its venues."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    simulated = selectors.without_money(client_id, since=today) if _moves_money() else ()
    if simulated:
        raise PermanentError(
            f"The books hold simulated trades in {', '.join(sorted(simulated))}, which limits on position, exposure and"
            f" daily loss would count with those at {settings.QT_EXECUTION_EXCHANGE}, where money moves. Trade there as"
            " a client of its own, without simulated trades."
        )


def _refuse_made_up(symbols: Sequence[str], interval: str) -> None:
    """No order where money can move follows from candles of no market."""
    made_up = market.made_up(symbols, interval=interval) if _moves_money() else ()
    if made_up:
        raise PermanentError(
            f"The candles of {', '.join(sorted(made_up))} are made up, and orders at {settings.QT_EXECUTION_EXCHANGE}"
            " move money. Import those of its market (manage.py import_candles FILE), or set QT_MARKET_PROVIDER to"
            " what has them: they take the place of what was made up."
        )


def _refuse_stale(symbols: Sequence[str], interval: str, now: datetime) -> None:
    """Nor does it follow from candles that ended long ago: what a strategy said then is not what it says today."""
    if not _moves_money():
        return
    began = {symbol: market.last_time(symbol, interval=interval) for symbol in symbols}
    oldest = now - STALE_AFTER - TIMEFRAMES[interval]
    stale = [symbol for symbol, time in began.items() if time is not None and time < oldest]
    if stale:
        raise _stale(stale)


def _stale(symbols: Sequence[str]) -> PermanentError:
    return PermanentError(
        f"The newest candles of {', '.join(sorted(symbols))} ended more than {STALE_AFTER.days} days ago, and orders at"
        f" {settings.QT_EXECUTION_EXCHANGE} move money. Run market-refresh, or manage.py import_candles FILE."
    )


def _moves_money() -> bool:
    return not (settings.USE_MOCK_BROKER or is_simulated(settings.QT_EXECUTION_EXCHANGE))


def targets(ctx: StepContext, args: NoArguments) -> dict[str, Any]:
    """Give each symbol of the universe a weight: as the promoted strategy says, else momentum over liquidity."""
    if "promotion" in ctx.returned["universe"]:
        return _followed(lambda: _wishes(ctx, UUID(ctx.returned["universe"]["promotion"])))
    symbols = [row["symbol"] for row in ctx.returned["universe"]["symbols"]]
    histories = {symbol: market.history(symbol, bars=HISTORY_BARS) for symbol in symbols}
    known = [history for history in histories.values() if history is not None]
    closes = np.column_stack([history.closes for history in known])
    volumes = np.column_stack([history.volumes for history in known])
    momenta = momentum(closes)
    weights = target_weights(momenta, liquidity(closes, volumes))
    return {
        "weights": {
            history.symbol: f"{weight:.4f}" for history, weight in zip(known, weights, strict=True) if weight > 0
        },
        "momentum": {history.symbol: f"{value:.4f}" for history, value in zip(known, momenta, strict=True)},
    }


def _wishes(ctx: StepContext, promotion_id: UUID) -> dict[str, Any]:
    promotion = Promotion.objects.filter(id=promotion_id, client_id=ctx.client_id, demoted_at__isnull=True).first()
    if promotion is None:
        raise PermanentError("The strategy was demoted while the cycle ran; the next one goes without it.")
    said = following.standing(following.config_of(promotion), ctx.now)
    return {
        "promotion": str(promotion.id),
        "as_of": said.as_of.isoformat(),
        "weights": {symbol: f"{weight:.12f}" for symbol, weight in said.weights.items()},
        "decided": {symbol: at.isoformat() for symbol, at in said.decided.items()},
    }


def _followed(ask: Callable[[], T]) -> T:
    """What a strategy answers; what its file, its candles or its configuration do not allow stays so."""
    try:
        return ask()
    except (LookupError, ValueError) as error:
        raise PermanentError(str(error)) from error


def risk(ctx: StepContext, args: NoArguments) -> dict[str, Any]:
    """Plan the orders that lead to the targets, review each, and store it as an intent or a refusal.

    What earlier runs left open is settled first. A symbol in which an order remains unknown is left alone, and so are
    futures, options and what is paid in other money than the account's: no cycle can tell what they are worth.
    """
    with _broker(ctx) as broker:
        if not ctx.dry_run:  # a venue is asked outside transactions, and a dry run is inside one
            services.settle_leftovers(ctx.client_id, ctx.run_id, broker, hold=ctx.transaction)
        cash = _cash(broker)
        rules = services.rules(ctx.client_id, broker)
        held = selectors.held_at(ctx.client_id, broker.name)
        wanted = ctx.returned["targets"]["weights"]
        with _told_apart():
            listed = services.instruments(broker, {*held, *wanted})
            instruments = services.paid_in_full(broker, listed)
        quotes = services.quotes(broker, instruments)
    apart = listed.keys() - instruments.keys()
    held = {symbol: units for symbol, units in held.items() if symbol not in apart}
    weights = {symbol: Decimal(weight) for symbol, weight in wanted.items()}
    prices = services.prices(broker.name, {*held, *weights}, quotes)
    untraded = {*held, *weights} - instruments.keys()
    unsettled = selectors.left_alone(ctx.client_id, broker.name) | untraded
    goals: dict[str, Decimal] = {}
    if "promotion" in ctx.returned["targets"]:
        worth = sum((units * prices[symbol] for symbol, units in held.items() if symbol in prices), Decimal(0))
        investable = max(cash + worth - rules.cash_buffer, Decimal(0))
        before = _cycle_before(ctx)
        goals = following.goals(ctx.returned["targets"], before, prices=prices, investable=investable)
        weights = following.as_weights(goals, prices, investable)
        silent = {row["symbol"] for row in ctx.returned["universe"]["symbols"]} - weights.keys()
        unsettled |= silent
    planned = planning.plan(weights, held, prices, cash=cash, rules=rules, unsettled=unsettled, instruments=instruments)
    with ctx.transaction():
        orders = services.intend(ctx.client_id, ctx.run_id, planned, broker=broker.name, quotes=quotes)
    shown = [_shown(order) for order in orders]
    return {
        "cash": f"{cash:.2f}",
        "orders": shown,
        "left_alone": sorted(unsettled),
        "goals": {symbol: f"{units:f}" for symbol, units in goals.items()},
    }


def _cycle_before(ctx: StepContext) -> Mapping[str, Any]:
    """What the steps of the client's last cycle returned that came to its end."""
    ended = JobRun.objects.filter(job=JOB.slug, client_id=ctx.client_id, state=State.SUCCEEDED).exclude(id=ctx.run_id)
    returned: Mapping[str, Any] | None = ended.order_by("-id").values_list("returned", flat=True).first()
    return returned or {}


def orders(ctx: StepContext, args: NoArguments) -> dict[str, Any]:
    """Send the approved orders to the venue, sells first, and write down what it answers.

    Buys spend the cash that there is once the sells are answered, less the buffer: what they have not brought is not
    spent, and a buy asks for less or is withdrawn.
    """
    todo = list(Order.objects.filter(run_id=ctx.run_id).exclude(state=OrderState.REFUSED).order_by("sequence"))
    sells, buys = ([order for order in todo if order.side == side] for side in (Side.SELL, Side.BUY))
    done = []
    with _broker(ctx) as broker:
        for order in sells:
            with _told_apart():
                done.append(services.submit(order, broker, hold=ctx.transaction))
            ctx.progress(len(done), len(todo), str(order))
        if any(order.state == OrderState.INTENDED for order in buys):
            rules = services.rules(ctx.client_id, broker)
            under_way = [order for order in buys if order.state in AT_VENUE]
            budget = _cash(broker) - rules.cash_buffer - sum((_may_cost(order) for order in under_way), Decimal(0))
        for order in buys:
            if order.state == OrderState.INTENDED:
                with _told_apart():
                    order = services.afford(order, budget, rules, broker, hold=ctx.transaction)
                    order = services.submit(order, broker, hold=ctx.transaction)
                budget -= _may_cost(order)
            elif order.is_live:
                with _told_apart():
                    order = services.submit(order, broker, hold=ctx.transaction)
            done.append(order)
            ctx.progress(len(done), len(todo), str(order))
    return {"orders": [_shown(order) for order in done]}


def _may_cost(order: Order) -> Decimal:
    """What a buy has cost, and what it may still cost at the price that it was planned for."""
    spent = order.filled_quantity * (order.average_price or Decimal(0)) + order.fees
    return spent + (order.left * order.reference_price if order.is_live else Decimal(0))


def snapshot(ctx: StepContext, args: NoArguments) -> dict[str, Any]:
    """Keep cash, positions, equity and exposure as they are now."""
    with _broker(ctx) as broker:
        cash = _cash(broker)
    with ctx.transaction():
        kept = services.snapshot(ctx.client_id, ctx.run_id, cash=cash, now=ctx.now)
    return {
        "cash": f"{kept.cash:.2f}",
        "equity": f"{kept.equity:.2f}",
        "gross_exposure": f"{kept.gross_exposure:.2f}",
        "positions": kept.positions,
    }


def _broker(ctx: StepContext) -> Broker:
    try:
        with _told_apart():
            return open_session(ctx.client_id, settings.QT_EXECUTION_EXCHANGE)
    except UnknownBroker as error:
        raise PermanentError(f"QT_EXECUTION_EXCHANGE: {error}") from None


def _cash(broker: Broker) -> Decimal:
    with _told_apart():
        return broker.account().cash


@contextmanager
def _told_apart() -> Iterator[None]:
    """What a venue refuses would be refused again; anything else of it may go well the next time."""
    try:
        yield
    except BrokerRefused as error:
        raise PermanentError(f"{error.broker} refuses: {error}") from error
    except BrokerError as error:
        raise RetryLater(f"{error.broker}: {error}") from error


def _shown(order: Order) -> dict[str, Any]:
    return {
        "client_order_id": order.client_order_id,
        "side": order.side,
        "symbol": order.symbol,
        "quantity": f"{order.quantity.normalize():f}",
        "state": order.state,
        "filled": f"{order.filled_quantity.normalize():f}",
        "price": None if order.average_price is None else f"{order.average_price.normalize():f}",
        "fees": f"{order.fees.normalize():f}",
        "reason": order.reason,
    }


JOB = Job(
    slug="execution-cycle",
    title="Rebalance one client",
    steps=(Step(universe), Step(targets), Step(risk), Step(orders, effects=True), Step(snapshot)),
    arguments=NoArguments,
    queue="critical",
    per_client=True,
    unique=lambda args, client_id: str(client_id),
    timeout=timedelta(minutes=2),
    cadence=None
    if settings.QUANTUM_TRADER_DISABLE_EXECUTION
    else Cadence(seconds=settings.QUANTUM_TRADER_EXECUTION_SECONDS),
    client_startable=True,
    log_name="execution-rebalance",
)
