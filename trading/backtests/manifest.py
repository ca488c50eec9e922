"""``manifest.json``: what a run left, and its link in the chain of manifests.

``content_hash`` covers what the run is and what it left, and is the same wherever the run is worked out.
``manifest_hash`` covers all of that and ``chain_prev``, the manifest hash of the run that the client finished before:
whoever changes, drops or moves a finished run must change every manifest after it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from trading.backtests import canonical

NAME: Final = "manifest.json"
VERSION: Final = 1
FIRST_LINK: Final = "0" * 64
"""What the first manifest of a chain names as the one before it."""


class Tampered(ValueError):
    """Something is not what the manifest says; the message names it."""


@dataclass(frozen=True)
class Identity:
    """What a run is worked out from. Two runs of one identity leave the same bytes."""

    run_hash: str
    data_hash: str
    code_version: str
    lock_hash: str


@dataclass(frozen=True)
class Entry:
    """One artifact: its name, its size in bytes and its SHA-256."""

    filename: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A manifest that agrees with its own hashes."""

    identity: Identity
    files: Sequence[Entry]
    content_hash: str
    chain_prev: str
    manifest_hash: str
    body: bytes

    def entry(self, filename: str) -> Entry | None:
        """The artifact of that name; None when the run left none."""
        return next((entry for entry in self.files if entry.filename == filename), None)


def entries(artifacts: Mapping[str, bytes]) -> list[Entry]:
    """The artifacts as the manifest lists them, by name."""
    return [
        Entry(name, len(artifacts[name]), hashlib.sha256(artifacts[name]).hexdigest()) for name in sorted(artifacts)
    ]


def seal(identity: Identity, files: Iterable[Entry], *, chain_prev: str) -> Manifest:
    """The manifest of a run that left ``files``, linked to the manifest whose hash is ``chain_prev``."""
    content = _content(identity, files)
    content_hash = canonical.digest(content)
    linked = {**content, "content_hash": content_hash, "chain_prev": chain_prev}
    manifest_hash = canonical.digest(linked)
    body = canonical.canonical({**linked, "manifest_hash": manifest_hash})
    return Manifest(identity, tuple(files), content_hash, chain_prev, manifest_hash, body)


def read(body: bytes) -> Manifest:
    """The manifest in ``body``; raises `Tampered` when it does not agree with its own hashes."""
    try:
        value: dict[str, Any] = json.loads(body)
        identity = Identity(value["run_hash"], value["data_hash"], value["code_version"], value["lock_hash"])
        files = [Entry(item["filename"], item["size"], item["sha256"]) for item in value["files"]]
        sealed = seal(identity, files, chain_prev=value["chain_prev"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Tampered(f"{NAME} is not a manifest: {error}") from None
    if sealed.body != body:
        raise Tampered(f"{NAME} does not agree with its own hashes: it was changed after it had been written")
    return sealed


def compare(manifest: Manifest, artifacts: Mapping[str, bytes]) -> list[str]:
    """How ``artifacts`` differ from what ``manifest`` lists, a sentence each; nothing when they are the same bytes."""
    found = {entry.filename: entry for entry in entries(artifacts)}
    listed = {entry.filename: entry for entry in manifest.files}
    faults = [f"{name} is missing" for name in sorted(listed.keys() - found.keys())]
    faults += [f"{name} is not in the manifest" for name in sorted(found.keys() - listed.keys())]
    for name in sorted(listed.keys() & found.keys()):
        if listed[name] != found[name]:
            faults.append(f"{name} has SHA-256 {found[name].sha256}, the manifest says {listed[name].sha256}")
    return faults


def _content(identity: Identity, files: Iterable[Entry]) -> dict[str, Any]:
    return {
        "version": VERSION,
        "run_hash": identity.run_hash,
        "data_hash": identity.data_hash,
        "code_version": identity.code_version,
        "lock_hash": identity.lock_hash,
        "files": [{"filename": entry.filename, "size": entry.size, "sha256": entry.sha256} for entry in files],
    }
