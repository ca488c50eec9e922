"""Walking the chains: is every entry there, unchanged and in its place, up to the heads that were signed?"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db.models import Max

from trading.audit import heads
from trading.audit.canonical import GENESIS, digest, moment
from trading.audit.models import OF_NO_CLIENT, PLATFORM, SWITCHES, AuditEntry, AuditHead

BATCH: Final = 1_000
UNSIGNED_FOR: Final = timedelta(days=1)
"""An entry this old must be covered by a signed head: exports have stopped, or somebody has removed them."""
ADVICE: Final = (
    "Stop changes by hand, keep copies of the database and of the files beside QT_ADMIN_AUDIT_PATH, and compare with"
    " the mirror and the last backup: docs/audit.md says how."
)


@dataclass(frozen=True)
class Break:
    """The first thing that is wrong in a chain: what kind, at which entry."""

    kind: str
    sequence: int
    message: str


@dataclass(frozen=True)
class Verdict:
    """What was found of one chain."""

    chain: UUID
    entries: int
    head: str
    signed: int
    """The entry up to which its newest signed head reaches; 0 without one."""
    broken: Break | None = None

    @property
    def name(self) -> str:
        """The chain as people call it."""
        return {PLATFORM: "the platform", SWITCHES: "the switches"}.get(self.chain, f"client {self.chain}")


Watch = Callable[[int], None]


def chains() -> Iterator[UUID]:
    """Every chain that has entries, a head or signed heads, in order; one index look-up for each."""
    known = {*AuditHead.objects.values_list("chain", flat=True), *heads.exported_chains()}
    newest: UUID | None = None
    while True:
        rows = AuditEntry.objects.order_by("chain", "sequence")
        newest = (
            rows.filter(chain__gt=newest).values_list("chain", flat=True).first()
            if newest is not None
            else rows.values_list("chain", flat=True).first()
        )
        if newest is None:
            break
        known.add(newest)
    yield from sorted(known)


def verify(chain: UUID, *, now: datetime, watch: Watch = lambda sequence: None) -> Verdict:
    """Walk ``chain`` from its beginning, in constant memory, and compare it with its newest signed head.

    ``now`` decides which entries must be signed already; ``watch`` is told the number of each thousandth entry.
    """
    end, last_hash = _end(chain)
    try:
        signed = heads.last(chain)
    except heads.BadHead as error:
        return Verdict(chain, end, last_hash, 0, _forged(chain, error))
    covers = signed.sequence if signed is not None else 0

    def verdict(broken: Break | None) -> Verdict:
        return Verdict(chain, end, last_hash, covers, broken)

    walk = Walk(chain, signed=signed, watch=watch)
    if (broken := walk.to(end)) is not None:
        return verdict(broken)
    if walk.last_hash != last_hash:
        return verdict(
            Break("head", end, f"entry {end} is not the one that audit_heads names as the last: one was exchanged.")
        )
    if (broken := _beyond(chain)) is not None:
        return verdict(broken)
    if signed is not None and covers > end:
        return verdict(
            Break(
                "cut",
                end + 1,
                f"entry {end + 1} and those after it are gone: the chain ends at {end}, but its head was signed at"
                f" {covers} on {signed.at}.",
            )
        )
    return verdict(unsigned(chain, covers, now))


class Walk:
    """From one entry to the next, looking whether each follows from the one before."""

    def __init__(
        self,
        chain: UUID,
        *,
        after: int = 0,
        last_hash: str = GENESIS,
        signed: heads.SignedHead | None = None,
        watch: Watch = lambda sequence: None,
    ) -> None:
        self._chain = chain
        self._signed = signed
        self._watch = watch
        self.sequence = after
        self.last_hash = last_hash

    def to(self, end: int) -> Break | None:
        """Go on to entry ``end``; the first break."""
        while self.sequence < end:
            batch = list(
                AuditEntry.objects.filter(chain=self._chain, sequence__gt=self.sequence, sequence__lte=end).order_by(
                    "sequence"
                )[:BATCH]
            )
            if not batch:
                return Break("missing", self.sequence + 1, f"entry {self.sequence + 1} and those after it are missing.")
            for entry in batch:
                if (broken := self._step(entry)) is not None:
                    return broken
            self._watch(self.sequence)
        return None

    def _step(self, entry: AuditEntry) -> Break | None:
        due = self.sequence + 1
        if entry.sequence != due:
            return Break(
                "missing", due, f"entry {due} is missing: entry {self.sequence} is followed by {entry.sequence}."
            )
        if entry.client_id != (None if self._chain in OF_NO_CLIENT else self._chain):
            return Break("changed", due, f"entry {due} was changed: its client is not the chain's.")
        if digest(entry.contents) != entry.hash:
            return self._misplaced(entry) or Break(
                "changed", due, f"entry {due} ({entry.action}) was changed: its hash does not fit what it says."
            )
        if entry.previous_hash != self.last_hash:
            return self._misplaced(entry) or Break(
                "changed", due, f"entry {due} does not follow entry {self.sequence}: one of the two was exchanged."
            )
        if self._signed is not None and due == self._signed.sequence and entry.hash != self._signed.hash:
            return self._rewritten()
        self.sequence, self.last_hash = due, entry.hash
        return None

    def _misplaced(self, entry: AuditEntry) -> Break | None:
        """Whether the entry is sound, but belongs elsewhere: the entry that it follows tells."""
        due = self.sequence + 1
        if entry.previous_hash == self.last_hash:
            return None
        before = AuditEntry.objects.filter(hash=entry.previous_hash).first()
        if before is None:
            return None
        if before.chain != self._chain:
            return Break(
                "foreign", due, f"entry {due} comes from another chain: it follows {before.chain}'s {before.sequence}."
            )
        return Break("reordered", due, f"entry {due} was moved: by what it says it follows entry {before.sequence}.")

    def _rewritten(self) -> Break:
        """The chain fits in itself, but not with what was signed: find between which heads it changed."""
        sound = 0
        for head in heads.all_of(self._chain):
            kept = AuditEntry.objects.filter(chain=self._chain, sequence=head.sequence, hash=head.hash).exists()
            if not kept:
                return Break(
                    "rewritten",
                    sound + 1,
                    f"one of the entries {sound + 1} to {head.sequence} was rewritten, with all hashes after it: entry"
                    f" {head.sequence} is not the one whose head was signed on {head.at}.",
                )
            sound = head.sequence
        return Break("rewritten", sound + 1, f"entries from {sound + 1} on were rewritten after their head was signed.")


def _beyond(chain: UUID) -> Break | None:
    """An entry past the head, which nobody who wrote by the rules has written."""
    found = AuditEntry.objects.filter(chain=chain).aggregate(last=Max("sequence"))["last"] or 0
    end = AuditHead.objects.filter(chain=chain).values_list("sequence", flat=True).first() or 0  # after the entries
    if found <= end:
        return None
    return Break(
        "beyond", end + 1, f"entry {end + 1} and up to {found} stand past the chain's head, which is at {end}."
    )


def unsigned(chain: UUID, covers: int, now: datetime) -> Break | None:
    """An entry that a signed head should cover by now, where the newest one reaches to ``covers``."""
    entry = AuditEntry.objects.filter(chain=chain, sequence=covers + 1).first()
    if entry is None or entry.at > now - UNSIGNED_FOR:
        return None
    return Break(
        "unsigned",
        covers + 1,
        f"entry {covers + 1} of {moment(entry.at)} is covered by no signed head in {heads.folder().name}: the job"
        " audit-export has not run, does not share this folder, or heads were removed.",
    )


@dataclass(frozen=True)
class Exported:
    """How many heads were signed, and the chains whose new entries do not fit, which were not."""

    signed: int
    refused: list[Verdict]


def export(*, now: datetime) -> Exported:
    """Sign the head of each chain that has grown, after a look at what is new in it."""
    signed = 0
    refused = []
    for chain in chains():
        end, last_hash = _end(chain)
        covers = 0
        try:
            newest = heads.last(chain)
            covers = newest.sequence if newest is not None else 0
            before_hash = newest.hash if newest is not None else GENESIS
            broken = _growth(chain, covers, before_hash, end, last_hash)
        except heads.BadHead as error:
            broken = _forged(chain, error)
        if broken is not None:
            refused.append(Verdict(chain, end, last_hash, covers, broken))
        elif covers < end:
            heads.keep(heads.sign(chain, end, last_hash, at=now))
            signed += 1
    return Exported(signed, refused)


def _growth(chain: UUID, covers: int, before_hash: str, end: int, last_hash: str) -> Break | None:
    """What is wrong between the newest signed head and the chain's end."""
    walk = Walk(chain, after=covers, last_hash=before_hash)
    broken = walk.to(end)
    if broken is None and (walk.sequence, walk.last_hash) != (end, last_hash):
        return Break("cut", end + 1, f"the chain ends at {end} with another entry than the head signed at {covers}.")
    return broken


def _end(chain: UUID) -> tuple[int, str]:
    """The number and the hash of a chain's last entry, as its head has them."""
    head = AuditHead.objects.filter(chain=chain).first()
    return (head.sequence, head.hash) if head is not None else (0, GENESIS)


def _forged(chain: UUID, error: heads.BadHead) -> Break:
    return Break("forged", 0, f"{heads.file_of(chain).name}: {error}.")
