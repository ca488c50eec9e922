"""Authenticated encryption of what a tenant entrusts to the platform, with keys that can be changed while it runs.

A sealed value is text: ``v1.<key id>.<base64url of nonce and ciphertext>``. AES-256-GCM (NIST SP 800-38D) with a random
nonce of 96 bits; the key and its id are derived from each secret of ``ENCRYPTION_KEY`` by HKDF-SHA256 (RFC 5869). The
tenant, the field and the key id are authenticated with it, so that a value copied to another row, or given another
key's id, does not open. The first secret seals, every one opens.
"""

import base64
import binascii
import re
import secrets
import uuid
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

VERSION: Final = "v1"
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
_SEALED = re.compile(rf"{VERSION}\.([0-9a-f]{{16}})\.([A-Za-z0-9_-]+)")


class CannotOpen(ValueError):
    """A sealed value does not open. The message never holds a part of it."""


class UnknownKey(CannotOpen):
    """It was sealed under a key that is not among those of ``ENCRYPTION_KEY``."""


class Altered(CannotOpen):
    """It was changed, damaged, or sealed for another tenant or field."""


class Keyring:
    """The keys of one list of secrets, the first of which seals."""

    def __init__(self, secrets_: Sequence[str]) -> None:
        if not secrets_:
            raise ValueError("There is no key to encrypt with: set ENCRYPTION_KEY.")
        self._keys = {_key_id(secret): AESGCM(_derived(secret, b"key", 32)) for secret in secrets_}
        self.primary = _key_id(secrets_[0])
        """The id of the key that seals."""

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of all keys, the one that seals first. They say nothing of the keys."""
        return tuple(self._keys)

    def seal(self, plaintext: bytes, *, tenant: uuid.UUID, field: str) -> str:
        """``plaintext`` sealed for one field (``table.column``) of one tenant."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        box = self._keys[self.primary].encrypt(nonce, plaintext, _context(self.primary, tenant, field))
        return f"{VERSION}.{self.primary}.{_encoded(nonce + box)}"

    def open(self, sealed: str, *, tenant: uuid.UUID, field: str) -> bytes:
        """What was sealed for that field of that tenant; raises `UnknownKey` or `Altered`."""
        name = key_id(sealed)
        key = self._keys.get(name)
        if key is None:
            raise UnknownKey(
                f"This was encrypted under the key {name}, which ENCRYPTION_KEY does not hold. Append the secret that"
                " was in use then to ENCRYPTION_KEY, then run: python manage.py rotate_encryption_key"
            )
        box = _decoded(sealed.rpartition(".")[2])
        try:
            return key.decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], _context(name, tenant, field))
        except InvalidTag:
            raise Altered("This was changed, or encrypted for another tenant or field.") from None


def key_id(sealed: str) -> str:
    """The id of the key that ``sealed`` was sealed under; raises `Altered` when it is not a sealed value."""
    found = _SEALED.fullmatch(sealed)
    if found is None:
        raise Altered("This is not an encrypted value.")
    return found.group(1)


def keyring() -> Keyring:
    """The keys of ``ENCRYPTION_KEY``."""
    return _keyring(tuple(settings.ENCRYPTION_KEY))


@lru_cache(maxsize=4)
def _keyring(secrets_: tuple[str, ...]) -> Keyring:
    return Keyring(secrets_)


def _derived(secret: str, purpose: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt=None, info=b"quantum-trader/encryption/v1/" + purpose).derive(secret.encode())


def _key_id(secret: str) -> str:
    return _derived(secret, b"id", 8).hex()


def _context(key: str, tenant: uuid.UUID, field: str) -> bytes:
    """What is authenticated beside the ciphertext; each part but the last has a fixed length, so none runs over."""
    return f"{VERSION}.{key}.{tenant.hex}.{field}".encode()


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    """The bytes of ``text`` in its one canonical form: base64's last character has bits that decode to nothing."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise Altered("This is not an encrypted value.") from None
    if _encoded(data) != text or len(data) < NONCE_BYTES + TAG_BYTES:
        raise Altered("This is not an encrypted value.")
    return data
