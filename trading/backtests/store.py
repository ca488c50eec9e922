"""Where artifacts lie: one folder a run, made whole elsewhere and put in its place by a rename."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Final
from uuid import UUID

from trading.backtests.manifest import Entry, Tampered

STAGING: Final = ".staging"


@dataclass(frozen=True)
class Staged:
    """A new folder for artifacts, not yet in its place."""

    path: Path
    _syncs: list[Future[None]] = field(default_factory=list)

    def add(self, artifacts: Mapping[str, bytes]) -> None:
        """Write ``artifacts`` into the folder; the disk has them once `wait` has returned.

        Until then the caller has other things to do, such as the statements of a transaction.
        """
        opened: list[int] = []
        try:
            for name, content in artifacts.items():
                opened.append(os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
                _write_all(opened[-1], content)
        except BaseException:  # whatever it was: nobody else closes them
            _close_all(opened)
            raise
        self._syncs.append(_disk(os.getpid()).submit(_sync_all, opened))

    def wait(self) -> None:
        """Return once all that was added is on the disk; raises what that raised, when nothing is under way."""
        wait(self._syncs)
        for synced in self._syncs:
            synced.result()


@dataclass(frozen=True)
class ArtifactStore:
    """The folder ``root``, with a folder for each client and in it one for each finished run."""

    root: Path

    def folder(self, client_id: UUID, run_id: UUID) -> Path:
        """Where a finished run's artifacts lie."""
        return self.root / str(client_id) / str(run_id)

    def scratch(self, run_id: UUID) -> Path:
        """Where a run that is being worked out keeps what its steps hand on; made when it is not there."""
        path = self.root / STAGING / str(run_id)
        path.mkdir(parents=True, exist_ok=True, mode=0o750)
        return path

    def stage(self, run_id: UUID, attempt: int, artifacts: Mapping[str, bytes]) -> Staged:
        """A new folder with ``artifacts`` in it."""
        path = self.root / STAGING / f"{run_id}-{attempt}"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True, mode=0o750)
        staged = Staged(path)
        staged.add(artifacts)
        return staged

    def publish(self, staged: Staged, client_id: UUID, run_id: UUID) -> None:
        """Put a staged folder in its place by one rename, once the disk has what is in it.

        The caller holds the run, so whatever is there already was left by an attempt that did not come to its end.
        """
        staged.wait()
        place = self.folder(client_id, run_id)
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        shutil.rmtree(place, ignore_errors=True)
        sync_folder(staged.path)
        staged.path.rename(place)
        sync_folder(place.parent)

    def open(self, client_id: UUID, run_id: UUID, entry: Entry) -> BinaryIO:
        """An artifact, to be read from its beginning, after its bytes were found to be those of the manifest.

        Raises `Tampered`. ``entry`` comes from a manifest, never from a request. A link is not followed.
        """
        path = self.folder(client_id, run_id) / entry.filename
        try:
            file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
        except OSError as error:
            raise Tampered(f"{entry.filename} cannot be read: {error.strerror}") from None
        try:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != entry.sha256:
                raise Tampered(f"{entry.filename} has SHA-256 {found}, the manifest says {entry.sha256}")
            file.seek(0)
        except BaseException:  # whatever it was: the caller gets no file to close
            file.close()
            raise
        return file

    def contents(self, client_id: UUID, run_id: UUID) -> dict[str, bytes]:
        """The bytes of every file in a run's folder, whatever they are; links are left out."""
        place = self.folder(client_id, run_id)
        if not place.is_dir():
            return {}
        return {path.name: path.read_bytes() for path in sorted(place.iterdir()) if not path.is_symlink()}

    def forget(self, run_id: UUID) -> None:
        """Delete what a run's steps handed on, and what its attempts left half done."""
        for path in (self.root / STAGING).glob(f"{run_id}*"):
            shutil.rmtree(path, ignore_errors=True)

    def remove(self, client_id: UUID, run_id: UUID) -> None:
        """Delete a run's artifacts; nothing happens when there are none."""
        place = self.folder(client_id, run_id)
        going = self.root / STAGING / f"{run_id}-removed"
        going.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        shutil.rmtree(going, ignore_errors=True)
        with suppress(FileNotFoundError):
            place.rename(going)
        shutil.rmtree(going, ignore_errors=True)

    def sweep(self, *, kept: Iterable[UUID], before: datetime) -> int:
        """Delete the folders of runs that are not ``kept`` and were last changed before then; how many."""
        names = {str(run_id) for run_id in kept}
        deleted = 0
        for path in [*self.root.glob("*/*"), *self.root.glob(f"{STAGING}/*")]:
            if path.name[:36] in names and (path.parent.name != STAGING or len(path.name) == 36):
                continue
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < before.timestamp():
                    shutil.rmtree(path, ignore_errors=True)
                    deleted += 1
        return deleted


@lru_cache(maxsize=1)
def _disk(pid: int) -> ThreadPoolExecutor:
    """The thread of process ``pid`` that waits for the disk, one file after the other; a forked one has its own."""
    return ThreadPoolExecutor(1, thread_name_prefix="disk")


def _write_all(descriptor: int, content: bytes) -> None:
    """All of ``content``: the system may take less at a time."""
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def _sync_all(descriptors: Sequence[int]) -> None:
    """Have files on the disk, and close them."""
    try:
        if hasattr(os, "posix_fadvise"):  # begins to write each, so that the first to be waited for takes most along
            for descriptor in descriptors:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        for descriptor in descriptors:
            os.fsync(descriptor)
    finally:
        _close_all(descriptors)


def _close_all(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
