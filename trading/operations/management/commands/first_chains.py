"""``manage.py first_chains``: a refresh, a cycle and a backtest of the demo client, and what came of them."""

import time
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from trading.backtests import examples
from trading.backtests import services as backtests
from trading.backtests.parsing import parse
from trading.brokers.services import open_paper_account
from trading.execution import services as execution
from trading.execution.models import Order, PortfolioSnapshot
from trading.jobs import services
from trading.jobs.models import JobRun
from trading.jobs.states import FINAL, State, Trigger
from trading.tenants.models import Client

POLL_SECONDS = 0.1


class Command(BaseCommand):
    """Needs a running worker."""

    help = "Run the first chains and show what they did."

    def add_arguments(self, parser: CommandParser) -> None:
        """How long to wait, and whether to do so again."""
        parser.add_argument("--once", action="store_true", help="do nothing when the client has had a cycle")
        parser.add_argument("--timeout", type=float, default=60.0, help="seconds to wait for each chain")

    def handle(self, *args: Any, **options: Any) -> None:
        """Enqueue, follow, show."""
        client = Client.objects.filter(name="Demo desk").first()
        if client is None:
            raise CommandError("There is no demo client. Create it: manage.py setup_demo")
        snapshots = PortfolioSnapshot.objects.filter(client=client)
        if options["once"] and snapshots.count() > 1:  # the first is the opening, the second a cycle's
            return
        refresh = services.enqueue("market-refresh", trigger=Trigger.COMMAND, triggered_by="first_chains").run
        self._follow(refresh, options)
        if settings.QT_EXECUTION_EXCHANGE == "paper" and not snapshots.exists():
            # The curve begins with what the account was opened with, not with what the first orders left of it.
            cash = open_paper_account(client.id, cash=settings.QT_PAPER_CASH).cash
            execution.snapshot(client.id, refresh.id, cash=cash, now=datetime.now(UTC))
        cycle = services.enqueue(
            "execution-cycle", client_id=client.id, trigger=Trigger.COMMAND, triggered_by="first_chains"
        ).run
        self._follow(cycle, options)
        self._show(client, cycle)
        # Not waited for: where nothing is compiled yet, its first run takes as long as all the rest.
        config = parse(examples.backtest())
        tested = backtests.submit(config, client_id=client.id, by="first_chains").run
        name, of = tested.backtest["strategy"]["name"], tested.backtest
        self.stdout.write(f"backtest: {name} on {of['symbol']}, {of['start']} to {of['end']}, is on its way: Backtests")

    def _follow(self, run: JobRun, options: dict[str, Any]) -> None:
        began = time.monotonic()
        while time.monotonic() - began < options["timeout"]:
            run.refresh_from_db()
            if run.state in FINAL:
                break
            time.sleep(POLL_SECONDS)
        seconds = time.monotonic() - began
        if run.state != State.SUCCEEDED:
            why = run.error_message.rstrip(".") or "no error recorded"
            raise CommandError(
                f"{run.job} is {run.state} after {seconds:.0f} s: {why}."
                f" Look at it: /app/runs/{run.id}, and at the worker's output."
            )
        self.stdout.write(f"{run.job}: {' → '.join(run.steps)} in {seconds:.1f} s")

    def _show(self, client: Client, cycle: JobRun) -> None:
        for order in Order.objects.filter(run_id=cycle.id).order_by("sequence"):
            filled = f"{order.filled_quantity.normalize():f} at {order.average_price}" if order.average_price else ""
            self.stdout.write(f"  {order} {order.get_state_display().lower()} {filled} {order.reason}".rstrip())
        kept = PortfolioSnapshot.objects.filter(client=client).order_by("-id").first()
        if kept is not None:
            self.stdout.write(
                f"  equity {kept.equity:.2f}, cash {kept.cash:.2f}, {len(kept.positions)} positions worth"
                f" {kept.gross_exposure:.2f}"
            )
