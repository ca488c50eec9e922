"""Signed heads: what a chain's end was, said under a signature and kept outside the database.

A hash needs no secret, so whoever can write the tables can also write a whole new chain. What cannot be made again is
the signature on an earlier head. Each export adds a line to the chain's own file in the folder ``.heads`` beside
``QT_ADMIN_AUDIT_PATH``; copy that folder to where the database's owner cannot reach it.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from trading.audit.canonical import encode, moment

_PURPOSE: Final = b"quantum-trader audit head 1"
_MAX_LINE: Final = 4_096


class BadHead(Exception):
    """A line among the signed heads is not one that was signed here; the message says why."""


@dataclass(frozen=True)
class SignedHead:
    """That the chain's entry of number ``sequence`` had this hash when it was its last."""

    chain: str
    sequence: int
    hash: str
    at: str
    key: str
    """The public key that verifies the signature, in hexadecimal."""
    signature: str


def folder() -> Path:
    """Where the signed heads are."""
    audit = Path(settings.QT_ADMIN_AUDIT_PATH)
    return audit.with_name(audit.name + ".heads")


def file_of(chain: UUID) -> Path:
    """The signed heads of one chain, oldest first."""
    return folder() / f"{chain}.jsonl"


def public_keys() -> list[str]:
    """The keys that heads are verified with, in hexadecimal; the first one signs."""
    return [_public(_private(secret)) for secret in _secrets()]


def sign(chain: UUID, sequence: int, hash_: str, *, at: datetime) -> SignedHead:
    """A head under the first key's signature."""
    private = _private(_secrets()[0])
    said = {"chain": str(chain), "sequence": sequence, "hash": hash_, "at": moment(at), "key": _public(private)}
    return SignedHead(**said, signature=private.sign(_said(said)).hex())  # type: ignore[arg-type]  # as just made


def keep(head: SignedHead) -> None:
    """Append ``head`` to its chain's file, and do not return before it is on the disk."""
    file_of(UUID(head.chain)).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(file_of(UUID(head.chain)), os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        size = file.tell()
        is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        file.write(b"\n" * is_torn + encode(asdict(head)) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def last(chain: UUID) -> SignedHead | None:
    """The newest head of a chain, its signature verified; None when there is none. Raises `BadHead`."""
    try:
        with file_of(chain).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - _MAX_LINE, 0))
            *lines, _ = file.read().split(b"\n")  # what follows the last line feed was cut short by a crash
    except FileNotFoundError:
        return None
    return _verified(lines[-1], chain) if lines else None


def all_of(chain: UUID) -> Iterator[SignedHead]:
    """The heads of a chain, oldest first, those whose signature holds."""
    with file_of(chain).open("rb") as file:
        for line in file:
            try:
                yield _verified(line, chain)
            except BadHead:
                continue


def exported_chains() -> list[UUID]:
    """The chains that have heads here."""
    found = []
    for file in sorted(folder().glob("*.jsonl")):
        try:
            found.append(UUID(file.stem))
        except ValueError:
            continue  # somebody else's file
    return found


def _verified(line: bytes, chain: UUID) -> SignedHead:
    try:
        value = json.loads(line)
        head = SignedHead(**{**value, "sequence": int(value["sequence"])})
        signature, key = bytes.fromhex(head.signature), head.key
    except (ValueError, KeyError, TypeError) as error:
        raise BadHead(f"its last line cannot be read: {error}") from None
    if head.chain != str(chain):
        raise BadHead(f"its last line is of chain {head.chain[:64]}")
    if key not in public_keys():
        raise BadHead(
            f"its last line is signed with the key {key[:16]}, which is not ours; if the secret was changed, add the"
            " one before it to QT_AUDIT_SIGNING_KEY"
        )
    said = {name: item for name, item in asdict(head).items() if name != "signature"}
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(signature, _said(said))
    except InvalidSignature:
        raise BadHead("the signature of its last line is forged") from None
    return head


def _said(said: Mapping[str, Any]) -> bytes:
    return _PURPOSE + b"\n" + encode(dict(said))


def _secrets() -> list[str]:
    return settings.QT_AUDIT_SIGNING_KEY or [settings.SECRET_KEY]


@lru_cache(maxsize=8)
def _private(secret: str) -> Ed25519PrivateKey:
    """The key that follows from a secret: HKDF with SHA-256 (RFC 5869) gives the 32 bytes of its seed."""
    seed = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=_PURPOSE).derive(secret.encode())
    return Ed25519PrivateKey.from_private_bytes(seed)


def _public(private: Ed25519PrivateKey) -> str:
    return private.public_key().public_bytes_raw().hex()
