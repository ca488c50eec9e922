"""Where artifacts lie: one folder a run, made whole elsewhere and put in its place by a rename."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Final
from uuid import UUID

from trading.backtests.manifest import Entry, Tampered

STAGING: Final = ".staging"


@dataclass(frozen=True)
class Staged:
    """A new folder with artifacts in it, not yet in its place; ``synced`` is done once they are on the disk."""

    path: Path
    synced: Future[None]


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
        """A new folder with ``artifacts`` in it; the disk has them once `publish` has waited for it.

        Until then the caller has other things to do, such as the statements of a transaction.
        """
        path = self.root / STAGING / f"{run_id}-{attempt}"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True, mode=0o750)
        with ExitStack() as stack:
            files = [stack.enter_context((path / name).open("xb", buffering=0)) for name in artifacts]
            for file, content in zip(files, artifacts.values(), strict=True):
                write_all(file, content)
            disk = ThreadPoolExecutor(1, thread_name_prefix="disk")
            synced = disk.submit(_sync_all, stack.pop_all(), [file.fileno() for file in files])
            disk.shutdown(wait=False)  # its thread ends with what it was given
        return Staged(path, synced)

    def publish(self, staged: Staged, client_id: UUID, run_id: UUID) -> None:
        """Put a staged folder in its place by one rename, once the disk has what is in it.

        The caller holds the run, so whatever is there already was left by an attempt that did not come to its end.
        """
        staged.synced.result()
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


def write(path: Path, content: bytes) -> None:
    """``content`` in a new file, on the disk when this returns."""
    with path.open("xb", buffering=0) as file:
        write_all(file, content)
        os.fsync(file.fileno())


def write_all(file: FileIO, content: bytes) -> None:
    """All of ``content``: the system may take less at a time."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def _sync_all(files: ExitStack, descriptors: Sequence[int]) -> None:
    """Have files on the disk, and close them."""
    with files:
        if hasattr(os, "posix_fadvise"):  # begins to write each, so that the first to be waited for takes most along
            for descriptor in descriptors:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        for descriptor in descriptors:
            os.fsync(descriptor)


def sync_folder(path: Path) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
