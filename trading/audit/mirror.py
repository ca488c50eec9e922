"""The audit log as lines of JSON in the file of ``QT_ADMIN_AUDIT_PATH``, written after the commit.

Beside the file lies ``.position``: how far each chain has been written, and up to which byte that is known. What was
missed while the file could not be written is found by that and written later. A line may come twice after a crash,
none is left out.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import structlog
from django.conf import settings
from django.db import DatabaseError
from prometheus_client import REGISTRY, Counter

from trading.audit.canonical import encode
from trading.audit.models import AuditEntry, AuditHead

log = structlog.get_logger("quantum.audit")
FAILURES = Counter("audit_mirror_failures_total", "Audit entries not mirrored at once.", registry=REGISTRY)

PATIENCE_SECONDS: Final = 0.25
"""How long a request waits for the file while another process writes it; the next writer takes its entry along."""
MOST_AT_ONCE: Final = 100
"""A request writes this many missed entries at most; the job ``audit-export`` writes the rest."""
BATCH: Final = 1_000
_PRIVATE: Final = 0o600


class MirrorFailed(Exception):
    """The file cannot be written now; the message says why."""


@dataclass
class Position:
    """How far the file is: the last sequence number of each chain, all of them known up to byte ``size``."""

    inode: int = 0
    size: int = 0
    chains: dict[str, int] = field(default_factory=dict)


def path() -> Path:
    """The file."""
    return Path(settings.QT_ADMIN_AUDIT_PATH)


def follow(entry: AuditEntry) -> None:
    """Write an entry that has just been committed, and what was missed before it; an error is counted and logged."""
    try:
        with _writing() as writer:
            done = writer.done(entry.chain)
            if done >= entry.sequence:
                return
            if done == entry.sequence - 1:
                writer.write([entry])
            elif entry.sequence - done <= MOST_AT_ONCE:
                writer.write(_after(entry.chain, done, until=entry.sequence))
            else:
                raise MirrorFailed(f"{entry.sequence - done} entries are missing; the job audit-export writes them")
    except (MirrorFailed, OSError, DatabaseError) as error:
        FAILURES.inc()
        log.error("audit.mirror_failed", path=str(path()), error=str(error))


def catch_up() -> int:
    """Write all that was missed, batch by batch; how many entries. Raises `MirrorFailed`."""
    written = 0
    for chain, sequence in AuditHead.objects.order_by("chain").values_list("chain", "sequence").iterator():
        more = True
        while more:
            try:
                with _writing() as writer:
                    entries = list(_after(chain, writer.done(chain), until=sequence)[:BATCH])
                    writer.write(entries)
            except OSError as error:
                raise MirrorFailed(f"{path()} cannot be written: {error}") from error
            written += len(entries)
            more = len(entries) == BATCH
    return written


def behind() -> int:
    """How many entries this host's file lacks. Raises `MirrorFailed` when that cannot be told."""
    try:
        with _locked(os.O_RDWR) as descriptor:
            chains = _read(descriptor).chains
    except FileNotFoundError:
        chains = {}
    except OSError as error:
        raise MirrorFailed(f"{_position_path()} cannot be read: {error}") from error
    heads = AuditHead.objects.values_list("chain", "sequence").iterator()
    return sum(max(sequence - chains.get(str(chain), 0), 0) for chain, sequence in heads)


def _after(chain: UUID, done: int, *, until: int) -> Any:
    return AuditEntry.objects.filter(chain=chain, sequence__gt=done, sequence__lte=until).order_by("sequence")


class _Writer:
    """The file, held by this process alone."""

    def __init__(self, file: int, position: Position) -> None:
        self._file = file
        self._position = position
        status = os.fstat(file)
        is_same = status.st_ino == position.inode and status.st_size >= position.size
        if not is_same or status.st_size > position.size:
            self._learn(position.size if is_same else 0)
        self._note()

    def done(self, chain: UUID) -> int:
        """The last sequence number of a chain that the file has."""
        return self._position.chains.get(str(chain), 0)

    def write(self, entries: Iterable[AuditEntry]) -> None:
        """Append entries, which follow on what the file has."""
        for entry in entries:
            _write_all(self._file, encode({**entry.contents, "hash": entry.hash}) + b"\n")
            self._position.chains[str(entry.chain)] = entry.sequence
        self._note()

    def _learn(self, start: int) -> None:
        """Read the lines from byte ``start`` on: written before a crash, or by whoever replaced the file."""
        with path().open("rb") as written:
            written.seek(start)
            line = b"\n"
            for line in written:
                chain, sequence = _place(line)
                self._position.chains[chain] = max(self._position.chains.get(chain, 0), sequence)
        if not line.endswith(b"\n"):
            _write_all(self._file, b"\n")  # a line that a crash cut short stays what it is
        self._position.chains.pop("", None)

    def _note(self) -> None:
        status = os.fstat(self._file)
        self._position.inode, self._position.size = status.st_ino, status.st_size


def _place(line: bytes) -> tuple[str, int]:
    """The chain and sequence number of a line; of one that cannot be read, nothing."""
    try:
        value = json.loads(line)
        return str(value["chain"]), int(value["sequence"])
    except (ValueError, KeyError, TypeError):
        return "", 0


@contextmanager
def _writing() -> Iterator[_Writer]:
    """The file and its position, held; the position is kept when the writing ends, also by an error."""
    path().parent.mkdir(parents=True, exist_ok=True)
    with _locked(os.O_RDWR | os.O_CREAT) as descriptor:
        position = _read(descriptor)
        file = os.open(path(), os.O_WRONLY | os.O_APPEND | os.O_CREAT, _PRIVATE)
        try:
            yield _Writer(file, position)
        finally:
            os.close(file)
            text = json.dumps(position.__dict__).encode()
            os.pwrite(descriptor, text, 0)
            os.ftruncate(descriptor, len(text))


def _position_path() -> Path:
    return path().with_name(path().name + ".position")


@contextmanager
def _locked(flags: int) -> Iterator[int]:
    """The position's file, locked; a holder that does not let go in time (a stopped process) is not waited for."""
    descriptor = os.open(_position_path(), flags, _PRIVATE)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise MirrorFailed("another process holds the file") from None
                time.sleep(0.002)
        yield descriptor
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> Position:
    """The position as it was kept; one that a crash tore is found again by reading the whole file."""
    try:
        value = json.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
        return Position(int(value["inode"]), int(value["size"]), {str(k): int(v) for k, v in value["chains"].items()})
    except (ValueError, KeyError, TypeError, AttributeError):
        return Position()


def _write_all(file: int, data: bytes) -> None:
    """Write all of ``data``, as a full disk may take a part of it."""
    while data:
        data = data[os.write(file, data) :]
