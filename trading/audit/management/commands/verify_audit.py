"""``manage.py verify_audit``: walk the audit chains and name the first broken entry of each."""

import json
import sys
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from trading.audit import heads, mirror, verification
from trading.audit.models import PLATFORM
from trading.audit.verification import ADVICE, Verdict


class Command(BaseCommand):
    """Exit status 1 when a chain is broken or a head cannot be signed."""

    help = "Verify the audit log: every entry there, unchanged, in its place, up to the signed heads."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which chains, the form of the answer, and whether to sign."""
        parser.add_argument("--client", help="only this client's chain: its id; `platform` for the platform's own")
        parser.add_argument("--json", action="store_true", help="print what was found as JSON")
        parser.add_argument("--export", action="store_true", help="then sign and keep the heads, and mirror the rest")

    def handle(self, *args: Any, **options: Any) -> None:
        """Walk, show, and sign when asked to."""
        verdicts = [self._verify(chain, quiet=options["json"]) for chain in self._chains(options["client"])]
        broken = [verdict for verdict in verdicts if verdict.broken is not None]
        exported = self._export() if options["export"] and not broken else None
        if options["json"]:
            self.stdout.write(json.dumps(self._shown(verdicts, exported), indent=2))
        else:
            entries = sum(verdict.entries for verdict in verdicts)
            self.stdout.write(f"{len(verdicts)} chains, {entries} entries, {len(broken)} broken.")
            if exported is not None:
                self.stdout.write(f"{exported} heads signed, in {heads.folder()}.")
        if broken:
            self.stderr.write(ADVICE)
            sys.exit(1)

    def _chains(self, named: str | None) -> list[UUID]:
        if named is None:
            return list(verification.chains())
        if named == "platform":
            return [PLATFORM]
        try:
            chain = UUID(named)
        except ValueError:
            raise CommandError(f"{named!r} is not a client's id, nor `platform`.") from None
        if chain not in verification.chains():
            raise CommandError(f"There is no audit chain of client {chain}; without --client all are walked.")
        return [chain]

    def _verify(self, chain: UUID, *, quiet: bool) -> Verdict:
        verdict = verification.verify(chain, now=timezone.now())
        if not quiet:
            said = f"BROKEN: {verdict.broken.message}" if verdict.broken is not None else "sound"
            extent = f"{verdict.entries} entries, signed up to {verdict.signed}"
            self.stdout.write(f"{verdict.name}: {extent}: {said}")
        return verdict

    def _export(self) -> int:
        try:
            mirror.catch_up()
            exported = verification.export(now=timezone.now())
        except (mirror.MirrorFailed, OSError) as error:
            raise CommandError(f"The heads cannot be kept: {error}. Correct QT_ADMIN_AUDIT_PATH or the disk.") from None
        if exported.refused:
            first = exported.refused[0]
            raise CommandError(f"{first.name} was not signed: {first.broken and first.broken.message} {ADVICE}")
        return exported.signed

    def _shown(self, verdicts: list[Verdict], exported: int | None) -> dict[str, Any]:
        return {
            "public_keys": heads.public_keys(),
            "heads_signed": exported,
            "chains": [
                {
                    "chain": str(verdict.chain),
                    "entries": verdict.entries,
                    "hash": verdict.head,
                    "signed_up_to": verdict.signed,
                    "broken": verdict.broken.__dict__ if verdict.broken is not None else None,
                }
                for verdict in verdicts
            ],
        }
