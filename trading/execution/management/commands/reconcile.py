"""``manage.py reconcile``: what venues say otherwise than our books; compare now, and resolve by hand."""

import getpass
import sys
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from trading.brokers import registry
from trading.execution import books, comparing, explanations
from trading.execution.models import Difference, Reconciliation
from trading.execution.services import in_transaction
from trading.tenants.models import Client


class Command(BaseCommand):
    """Exit status 1 while a difference stands, or an account could not be compared in full."""

    help = "Show what venues say otherwise than our books, compare accounts now, or resolve a difference."

    def add_arguments(self, parser: CommandParser) -> None:
        """Whose, and what to do."""
        parser.add_argument("--client", help="only this client's: its name or id")
        parser.add_argument("--compare", action="store_true", help="compare the accounts now, before showing")
        act = parser.add_mutually_exclusive_group()
        act.add_argument("--explain", metavar="ID", type=UUID, help="leave both sides as they are; needs --reason")
        act.add_argument("--adopt", metavar="ID", type=UUID, help="take an unknown order or fill into our books")
        parser.add_argument("--reason", default="", help="why; it is kept, and audited")

    def handle(self, *args: Any, **options: Any) -> None:
        """Resolve, compare, show."""
        clients = self._clients(options["client"])
        if options["explain"] or options["adopt"]:
            self._resolve(options)
        if options["compare"]:
            for client in clients:
                self._compare(client)
        if self._show(clients):
            sys.exit(1)

    def _clients(self, named: str | None) -> list[Client]:
        if named is None:
            return list(Client.objects.order_by("name"))
        found = Client.objects.filter(name=named).first()
        with suppress(ValueError):  # it may be no id
            found = found or Client.objects.filter(id=UUID(named)).first()
        if found is None:
            raise CommandError(f"There is no client called {named!r}, nor one with that id.")
        return [found]

    def _resolve(self, options: dict[str, Any]) -> None:
        act = explanations.adopt if options["adopt"] else explanations.explain
        try:
            with transaction.atomic():
                row = act(
                    options["adopt"] or options["explain"],
                    by=f"command by {getpass.getuser()}",
                    reason=options["reason"],
                    now=timezone.now(),
                )
        except explanations.NotResolved as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"Resolved: {row}.")

    def _compare(self, client: Client) -> None:
        for name in comparing.venues(client.id):
            if registry.stand_in(name) != name:
                self.stdout.write(f"{client.name}, {name}: not asked, USE_MOCK_BROKER is on.")
                continue
            outcome = comparing.compare(client.id, name, hold=in_transaction, now=timezone.now())
            said = f"not in full: {outcome.error}" if outcome.error else "in full"
            self.stdout.write(f"{client.name}, {name}: compared {said}; {outcome.new} new, {outcome.gone} gone.")

    def _show(self, clients: list[Client]) -> bool:
        """Whether something is amiss."""
        ids = {client.id: client.name for client in clients}
        standing = list(Difference.objects.filter(client_id__in=ids, resolved_at__isnull=True).order_by("id"))
        for row in standing:
            about = f"{row.id}  {ids[row.client_id]}, {row.broker}: {row}"
            self.stdout.write(f"{about}; ours {row.ours}, theirs {row.theirs}; since {row.found_at:%Y-%m-%d %H:%M}")
        marks = Reconciliation.objects.filter(client_id__in=ids).order_by("client__name", "broker")
        for mark in marks:
            last = "never" if mark.checked_at is None else f"{mark.checked_at:%Y-%m-%d %H:%M:%S}"
            trouble = f"; not answered: {mark.error}" if mark.error else ""
            self.stdout.write(f"{ids[mark.client_id]}, {mark.broker}: compared in full {last}{trouble}")
        broken = [one for one in books.mismatches() if one.client_id in ids]
        for one in broken:
            self.stderr.write(
                f"{ids[one.client_id]}: {one.symbol} is {one.position}, and its fills add up to {one.fills}"
            )
        self.stdout.write(f"{len(standing)} differences stand.")
        return bool(standing or broken or any(mark.error for mark in marks))
