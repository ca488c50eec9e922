"""Sealed values: they open for their own tenant, field and keys, unchanged, and for nothing else."""

import base64
from uuid import UUID

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from trading.core.encryption import Altered, CannotOpen, Keyring, UnknownKey, key_id

OLD, NEW, OTHER = "old-secret-" * 4, "new-secret-" * 4, "other-secret-" * 4
RING = Keyring([NEW, OLD])
FIELD = "broker_accounts.credentials"
texts = st.binary(max_size=200)
tenants = st.uuids()


@given(texts, tenants)
def test_what_is_sealed_opens_for_its_own_tenant_and_field(plaintext: bytes, tenant: UUID) -> None:
    assert RING.open(RING.seal(plaintext, tenant=tenant, field=FIELD), tenant=tenant, field=FIELD) == plaintext


@given(texts, tenants, st.data())
def test_any_flipped_bit_is_refused(plaintext: bytes, tenant: UUID, data: st.DataObject) -> None:
    sealed = RING.seal(plaintext, tenant=tenant, field=FIELD).encode()
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    changed = bytearray(sealed)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CannotOpen):
        RING.open(changed.decode("latin-1"), tenant=tenant, field=FIELD)


def test_every_single_bit_of_one_value_counts() -> None:
    tenant = UUID(int=7)
    for length in (0, 1, 2, 3):  # each way that base64's last character may end
        sealed = RING.seal(b"x" * length, tenant=tenant, field=FIELD).encode()
        for bit in range(len(sealed) * 8):
            changed = bytearray(sealed)
            changed[bit // 8] ^= 1 << bit % 8
            with pytest.raises(CannotOpen):
                RING.open(changed.decode("latin-1"), tenant=tenant, field=FIELD)


@given(texts, tenants, tenants)
def test_another_tenant_is_refused(plaintext: bytes, tenant: UUID, other: UUID) -> None:
    sealed = RING.seal(plaintext, tenant=tenant, field=FIELD)
    if tenant != other:
        with pytest.raises(Altered):
            RING.open(sealed, tenant=other, field=FIELD)


@given(texts, tenants, st.text())
def test_another_field_is_refused(plaintext: bytes, tenant: UUID, other: str) -> None:
    sealed = RING.seal(plaintext, tenant=tenant, field=FIELD)
    if other != FIELD:
        with pytest.raises(Altered):
            RING.open(sealed, tenant=tenant, field=other)


@given(texts, tenants)
def test_an_unknown_key_is_named_and_refused(plaintext: bytes, tenant: UUID) -> None:
    stranger = Keyring([OTHER])
    with pytest.raises(UnknownKey, match=stranger.primary):
        RING.open(stranger.seal(plaintext, tenant=tenant, field=FIELD), tenant=tenant, field=FIELD)


@given(texts, tenants)
def test_a_key_s_value_under_another_key_s_name_is_refused(plaintext: bytes, tenant: UUID) -> None:
    sealed = Keyring([OLD]).seal(plaintext, tenant=tenant, field=FIELD)
    with pytest.raises(Altered):
        RING.open(sealed.replace(key_id(sealed), RING.primary), tenant=tenant, field=FIELD)


@given(st.text())
def test_text_that_was_never_sealed_is_refused(text: str) -> None:
    with pytest.raises(CannotOpen):
        RING.open(text, tenant=UUID(int=1), field=FIELD)


def test_the_first_key_seals_and_all_open() -> None:
    tenant = UUID(int=1)
    before = Keyring([OLD]).seal(b"canary", tenant=tenant, field=FIELD)
    assert RING.open(before, tenant=tenant, field=FIELD) == b"canary"
    assert key_id(before) == RING.key_ids[1]
    assert key_id(RING.seal(b"canary", tenant=tenant, field=FIELD)) == RING.primary == Keyring([NEW]).primary


def test_the_same_value_is_never_sealed_alike() -> None:
    assert len({RING.seal(b"canary", tenant=UUID(int=1), field=FIELD) for _ in range(100)}) == 100


def test_no_message_holds_a_part_of_the_value() -> None:
    tenant = UUID(int=1)
    sealed = Keyring([OTHER]).seal(b"canary", tenant=tenant, field=FIELD)
    for ring, text in ((RING, sealed), (Keyring([OTHER]), sealed[:-1]), (RING, "canary")):
        with pytest.raises(CannotOpen) as caught:
            ring.open(text, tenant=tenant, field=FIELD)
        assert "canary" not in str(caught.value)
        assert sealed.rpartition(".")[2] not in str(caught.value)


def test_without_a_secret_there_is_no_keyring() -> None:
    with pytest.raises(ValueError, match="ENCRYPTION_KEY"):
        Keyring([])


def test_the_construction_by_hand() -> None:
    """HKDF of RFC 5869 by HMAC alone, and GCM by the cipher rather than by the one-shot interface."""

    def mac(key: bytes, message: bytes) -> bytes:
        made = hmac.HMAC(key, hashes.SHA256())
        made.update(message)
        return made.finalize()

    def derived(purpose: bytes, length: int) -> bytes:
        extracted = mac(bytes(32), NEW.encode())
        return mac(extracted, b"quantum-trader/encryption/v1/" + purpose + b"\x01")[:length]

    tenant = UUID("6f2b0c1e-5a0f-4c8e-9f63-0d4f9d3c2b1a")
    sealed = RING.seal(b"canary", tenant=tenant, field=FIELD)
    version, name, text = sealed.split(".")
    assert (version, name) == ("v1", derived(b"id", 8).hex())
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    nonce, box, tag = data[:12], data[12:-16], data[-16:]
    decryptor = Cipher(algorithms.AES(derived(b"key", 32)), modes.GCM(nonce, tag)).decryptor()
    decryptor.authenticate_additional_data(f"v1.{name}.6f2b0c1e5a0f4c8e9f630d4f9d3c2b1a.{FIELD}".encode())
    assert decryptor.update(box) + decryptor.finalize() == b"canary"
