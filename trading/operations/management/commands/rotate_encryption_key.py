"""``manage.py rotate_encryption_key``: bring what is encrypted under the first key of ENCRYPTION_KEY."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from trading.core.encryption import keyring
from trading.core.rotation import Report, rotate, standings


class Command(BaseCommand):
    """Exit status 1 while something lies under another key than the first."""

    help = "Encrypt again, under the first key of ENCRYPTION_KEY, whatever lies under another. May be repeated."

    def add_arguments(self, parser: CommandParser) -> None:
        """Look or do."""
        parser.add_argument("--dry-run", action="store_true", help="open every value, change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate, and say how things stand."""
        dry_run = options["dry_run"]
        ring = keyring()
        self.stdout.write(f"The first key is {ring.primary}; {len(ring.key_ids) - 1} others open values.")
        for report in rotate(dry_run=dry_run, progress=self._progress):
            verb = "would be encrypted again" if dry_run else "encrypted again"
            self.stdout.write(f"{report.column}: {report.rotated} {verb}.")
            if report.changed_meanwhile:
                self.stdout.write(f"  {report.changed_meanwhile} were changed at the same time and looked at again.")
            for reason, count in sorted(report.locked.items()):
                self.stderr.write(f"  {count} stay as they are: {reason}")
        if self._remaining():
            sys.exit(1)

    def _progress(self, report: Report) -> None:
        self.stdout.write(f"{report.column}: {report.rotated} so far.")

    def _remaining(self) -> int:
        """Say what lies under which key; how much of it is not under the first."""
        ring = keyring()
        remaining = 0
        for standing in standings():
            older, unknown = standing.under_older(ring), standing.unknown(ring)
            remaining += older + sum(unknown.values())
            self.stdout.write(
                f"{standing.column}: {standing.under_the_first(ring)} under the first key, {older} under older ones,"
                f" {sum(unknown.values())} under keys that ENCRYPTION_KEY does not hold."
            )
        if remaining:
            self.stdout.write("Keep every key in ENCRYPTION_KEY until nothing remains.")
        else:
            self.stdout.write("Nothing remains: the older keys may be taken out of ENCRYPTION_KEY.")
        return remaining
