"""Keep the market warm: new candles, the mood drawn from them, and quotes in the cache."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.cache import cache

from trading.jobs.context import StepContext
from trading.jobs.outcomes import PermanentError, RetryLater
from trading.jobs.registry import Cadence, Job, NoArguments, Step
from trading.marketdata import providers, selectors, services
from trading.marketdata.providers import Bar

MOOD_BARS = 60
QUOTE_LIFETIME_SECONDS = 86_400


def candles(ctx: StepContext, args: NoArguments) -> dict[str, Any]:
    """Ask the provider for the bars that are new, symbol by symbol, and keep them."""
    try:
        provider = providers.get(settings.QT_MARKET_PROVIDER)
    except providers.UnknownProvider as error:
        raise PermanentError(str(error)) from None
    symbols = settings.QUANTUM_TRADER_SYMBOLS
    until = provider.market_time(now=ctx.now, last=selectors.newest_time())
    draws = provider.name == providers.SYNTHETIC  # what it draws never stands in one series with what a market gave
    others = selectors.of_a_market(symbols) if draws else selectors.made_up(symbols)
    found: dict[str, list[Bar]] = {}
    unknown: list[str] = []
    for number, symbol in enumerate(symbols, 1):
        try:
            last = None if symbol in others else selectors.last_time(symbol)
            found[symbol] = [] if draws and symbol in others else provider.candles(symbol, after=last, until=until)
        except LookupError:
            unknown.append(symbol)
        except providers.ProviderError as error:
            raise RetryLater(f"{provider.name}: {error}") from error
        ctx.progress(number, len(symbols), symbol)
    if not found:
        named = ", ".join(symbols)
        raise PermanentError(f"The provider {provider.name!r} knows none of QUANTUM_TRADER_SYMBOLS ({named}).")
    with ctx.transaction():  # all symbols at once, or a retry would take the rest for one bar further
        new = {symbol: services.store(bars, source=provider.name).new for symbol, bars in found.items()}
    return {"provider": provider.name, "until": until.isoformat(), "new": new, "unknown": unknown}


def sentiment(ctx: StepContext, args: NoArguments) -> dict[str, Any]:
    """Draw the mood of each symbol from its last closes."""
    scores: dict[str, str] = {}
    for symbol in ctx.returned["candles"]["new"]:
        at = selectors.last_time(symbol)
        if at is None:
            continue
        closes = selectors.closes(symbol, bars=MOOD_BARS)
        with ctx.transaction():
            scores[symbol] = str(services.record_mood(symbol, closes, at=at))
    return {"source": services.MOOD_SOURCE, "scores": scores}


def warm_cache(ctx: StepContext, args: NoArguments) -> dict[str, Any]:
    """Put the newest quote of each symbol into Redis, where pages and streams read it."""
    quotes = {}
    for symbol in ctx.returned["candles"]["new"]:
        quote = selectors.quote(symbol)
        if quote is not None:
            quotes[symbol] = {
                "price": str(quote.price.normalize()),
                "previous": str(quote.previous.normalize()),
                "time": quote.time.isoformat(),
                "mood": ctx.returned["sentiment"]["scores"].get(symbol),
            }
    cache.set_many({f"quote:{symbol}": quote for symbol, quote in quotes.items()}, QUOTE_LIFETIME_SECONDS)
    return {"quotes": quotes}


JOB = Job(
    slug="market-refresh",
    title="Refresh candles, sentiment and the cache",
    steps=(Step(candles), Step(sentiment), Step(warm_cache, effects=True)),
    arguments=NoArguments,
    unique=lambda args, client_id: "market",
    timeout=timedelta(minutes=2),
    cadence=Cadence(seconds=settings.QUANTUM_TRADER_REFRESH_SECONDS),
)
