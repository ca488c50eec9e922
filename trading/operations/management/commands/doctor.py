"""``manage.py doctor``: look at this deployment and name the fix for each finding."""

import dataclasses
import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trading.operations.diagnosis import Finding, diagnose

STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}


class Command(BaseCommand):
    """Exit status 1 when something is an error; warnings alone are 0."""

    help = "Check this deployment and name the fix for each finding."
    requires_system_checks = ()  # their findings are among ours

    def add_arguments(self, parser: CommandParser) -> None:
        """The form of the answer."""
        parser.add_argument("--json", action="store_true", help="print the findings as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Look and show."""
        findings = list(diagnose())
        if options["json"]:
            self.stdout.write(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
        else:
            self._show(findings)
        if any(finding.level == "error" for finding in findings):
            sys.exit(1)

    def _show(self, findings: list[Finding]) -> None:
        table = Table(box=None, pad_edge=False)
        for title in ("", "What", "Finding", "Fix"):
            table.add_column(title, overflow="fold")
        for finding in findings:
            style = STYLES[finding.level]
            said = (Text(part) for part in (finding.subject, finding.message, finding.fix))  # not read as markup
            table.add_row(Text(finding.level, style), *said)
        Console(width=None if sys.stdout.isatty() else 140).print(table)
        errors = sum(finding.level == "error" for finding in findings)
        warnings = sum(finding.level == "warning" for finding in findings)
        self.stdout.write(f"{errors} errors, {warnings} warnings.")
