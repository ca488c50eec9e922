"""``manage.py emergency_halt``: halt everything, or lift that, with nothing but the database; show how it stands."""

import getpass
import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from trading.risk import halts, switches


class Command(BaseCommand):
    """Exit status 1 while an order that was being sent is not answered: the halt holds, and nothing more is sent."""

    help = "Halt everything (--on), lift that (--off), or show how it stands and which open orders are cancelled."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which way, and why."""
        way = parser.add_mutually_exclusive_group()
        way.add_argument("--on", action="store_true", help="refuse every order and approval; cancel open orders")
        way.add_argument("--off", action="store_true", help="lift the halt")
        parser.add_argument("--reason", default="", help="why; it is kept, and audited")

    def handle(self, *args: Any, **options: Any) -> None:
        """Turn, then show."""
        is_settled = True
        if options["on"] or options["off"]:
            try:
                switches.set_switches(halted=options["on"], reason=options["reason"], by=getpass.getuser())
            except switches.StillSending as error:
                is_settled = False
                self.stderr.write(str(error))
        self.stdout.write(json.dumps(halts.described(), indent=2))
        if not is_settled:
            sys.exit(1)
