"""``manage.py parity CLIENT``: what an account and its backtest filled for the same decisions, and why they differ."""

import json
from dataclasses import asdict, fields
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from trading.backtests import parity
from trading.backtests.models import Level, Promotion
from trading.backtests.parity import Causes, Filled, Pair, Report
from trading.core.scope import tenant_scope
from trading.tenants.models import Client

NAMES = tuple(field.name for field in fields(Causes))
HEADS = ("symbol", "decided", "backtest", "account", "difference", *NAMES)
WIDTHS = (10, 18, 22, 22, 12, *(12 for _ in NAMES))


class Command(BaseCommand):
    """Of the newest promotion in force."""

    help = (
        "Compare the fills of a client's promoted strategy with those of its backtest, each difference by its causes."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Whose, and how it is shown."""
        parser.add_argument("client", help="its name or id")
        parser.add_argument("--level", choices=Level.values, default=Level.PAPER.value)
        parser.add_argument("--json", action="store_true", help="one JSON object; money as text")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print it."""
        client = _client(options["client"])
        rows = Promotion.objects.filter(client=client, level=options["level"], demoted_at__isnull=True)
        promotion = rows.order_by("-promoted_at", "-id").first()
        if promotion is None:
            raise CommandError(f"No strategy of {client.name} is on {options['level']}: promote one first.")
        try:
            with tenant_scope(client.id):
                found = parity.report(promotion, now=timezone.now())
        except (LookupError, ValueError) as error:
            raise CommandError(str(error)) from None
        if options["json"]:
            self.stdout.write(json.dumps(shown(promotion, found), indent=1))
            return
        if found.began is None:
            self.stdout.write(f"No cycle has followed {promotion.strategy} yet.")
            return
        self.stdout.write(f"{promotion.strategy} on {promotion.level} since the bar of {found.began:%Y-%m-%d %H:%M}\n")
        self.stdout.write(_line(HEADS))
        for pair in found.pairs:
            self.stdout.write(_line(_cells(pair)))
        causes = found.causes
        sums = [f"{getattr(causes, name):.2f}" for name in NAMES]
        self.stdout.write(_line(("in all", "", "", "", f"{found.difference:.2f}", *sums)))


def shown(promotion: Promotion, found: Report) -> dict[str, Any]:
    """The report as JSON holds it."""
    return {
        "promotion": str(promotion.id),
        "strategy": promotion.strategy,
        "level": promotion.level,
        "began": None if found.began is None else found.began.isoformat(),
        "cash": str(found.cash),
        "difference": str(found.difference),
        "causes": _amounts(found.causes),
        "fills": [
            {
                "symbol": pair.symbol,
                "decided": None if pair.decided is None else pair.decided.isoformat(),
                "waits": pair.waits,
                "backtest": _filled(pair.backtest),
                "account": _filled(pair.account),
                "causes": _amounts(pair.causes),
            }
            for pair in found.pairs
        ],
    }


def _amounts(causes: Causes) -> dict[str, str]:
    return {name: f"{value:f}" for name, value in asdict(causes).items()}


def _filled(one: Filled | None) -> dict[str, str | None] | None:
    if one is None:
        return None
    price = None if one.price is None else f"{one.price:f}"
    return {"time": one.first.isoformat(), "quantity": f"{one.quantity:f}", "price": price, "fee": f"{one.fee:f}"}


def _cells(pair: Pair) -> tuple[str, ...]:
    causes = pair.causes
    amounts = ["waits", *("" for _ in NAMES)] if pair.waits else [f"{causes.whole:.2f}", *_money(causes)]
    decided = "" if pair.decided is None else f"{pair.decided:%Y-%m-%d %H:%M}"
    return (pair.symbol, decided, _brief(pair.backtest), _brief(pair.account), *amounts)


def _money(causes: Causes) -> list[str]:
    return [f"{getattr(causes, name):.2f}" for name in NAMES]


def _brief(one: Filled | None) -> str:
    if one is None:
        return "-"
    return f"{one.quantity:.3f}" + ("" if one.price is None else f" at {one.price:.4f}")


def _line(cells: tuple[str, ...]) -> str:
    return "".join(f"{cell:<{width}}" for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


def _client(named: str) -> Client:
    try:
        found = Client.objects.filter(id=UUID(named)).first()
    except ValueError:
        found = Client.objects.filter(name=named).first()
    if found is None:
        raise CommandError(f"There is no client {named!r}: give its name or id.")
    return found
