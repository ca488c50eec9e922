"""Every way to tamper with a chain is named, with the entry; whoever does it may do anything in the database."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from tests.audit.conftest import Attacker, write
from trading.audit import heads, verification
from trading.audit.canonical import GENESIS, digest
from trading.audit.models import PLATFORM, AuditEntry, AuditHead
from trading.audit.verification import Break, Verdict, verify
from trading.tenants.models import Client

NOW = datetime.now(UTC)


def export() -> verification.Exported:
    return verification.export(now=NOW)


def check(client: Client, now: datetime = NOW) -> Verdict:
    return verify(client.id, now=now)


def broken(client: Client) -> Break:
    found = check(client).broken
    assert found is not None
    assert f"{found.sequence}" in found.message or found.kind == "forged"
    return found


def rewrite_from(attacker: Attacker, client: Client, start: int, actor: str = "somebody else") -> None:
    """Change an entry and make the hashes of all that follow fit, with the head: no secret is needed for that."""
    previous = AuditEntry.objects.get(chain=client.id, sequence=start - 1).hash if start > 1 else GENESIS
    for entry in AuditEntry.objects.filter(chain=client.id, sequence__gte=start).order_by("sequence"):
        changed = {**entry.contents, "previous_hash": previous}
        if entry.sequence == start:
            changed["actor"] = actor
        previous = digest(changed)
        attacker.run(
            "UPDATE audit_log SET actor = %s, previous_hash = %s, hash = %s WHERE id = %s",
            changed["actor"],
            changed["previous_hash"],
            previous,
            entry.id,
        )
    AuditHead.objects.filter(chain=client.id).update(hash=previous)


def cut_after(attacker: Attacker, client: Client, sequence: int) -> None:
    """Delete the tail and set the head back, so that the chain fits in itself."""
    attacker.run("DELETE FROM audit_log WHERE chain = %s AND sequence > %s", client.id, sequence)
    last = AuditEntry.objects.get(chain=client.id, sequence=sequence)
    AuditHead.objects.filter(chain=client.id).update(sequence=sequence, hash=last.hash)


def test_a_sound_chain_verifies(desk: Client) -> None:
    write(desk, 5)
    assert check(desk) == Verdict(desk.id, 5, AuditHead.objects.get().hash, signed=0)
    assert export() == verification.Exported(1, [])
    write(desk, 2)
    assert (check(desk).broken, check(desk).signed) == (None, 5)
    assert export().signed == 1
    assert export().signed == 0, "what has not grown is not signed again"
    assert check(desk).signed == 7


def test_chains_are_found_by_their_entries_their_heads_and_their_signed_heads(
    desk: Client, other: Client, attacker: Attacker
) -> None:
    for client in (desk, other, None):
        write(client)
    export()
    attacker.run("DELETE FROM audit_heads WHERE chain = %s", desk.id)
    attacker.run("DELETE FROM audit_log WHERE chain = %s", other.id)
    attacker.run("DELETE FROM audit_heads WHERE chain = %s", other.id)
    assert list(verification.chains()) == sorted([PLATFORM, desk.id, other.id])


@pytest.mark.parametrize(
    "change",
    [
        "actor = 'nobody'",
        "action = 'order.cancelled'",
        "subject = ''",
        "data = '{\"number\": 8}'",
        "request_id = 'x'",
        "at = at + interval '1 microsecond'",
        "id = gen_random_uuid()",
        "hash = repeat('a', 64)",
        "previous_hash = repeat('a', 64)",
    ],
)
def test_a_changed_field(desk: Client, attacker: Attacker, change: str) -> None:
    write(desk, 5)
    attacker.run(f"UPDATE audit_log SET {change} WHERE chain = %s AND sequence = 3", desk.id)
    found = broken(desk)
    assert (found.kind, found.sequence) == ("changed", 3)


@pytest.fixture
def no_check(attacker: Attacker) -> Iterator[None]:
    """The table without its check that a chain is its client's."""
    (definition,) = attacker.server.execute(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'audit_log_chain'"
    ).fetchone() or ("",)
    attacker.run("ALTER TABLE audit_log DROP CONSTRAINT audit_log_chain")
    yield
    attacker.run("DELETE FROM audit_log")
    attacker.run(f"ALTER TABLE audit_log ADD CONSTRAINT audit_log_chain {definition}")


def test_a_changed_client(desk: Client, other: Client, attacker: Attacker, no_check: None) -> None:
    write(desk, 3)
    attacker.run("UPDATE audit_log SET client_id = %s WHERE sequence = 2", other.id)
    found = broken(desk)
    assert (found.kind, found.sequence) == ("changed", 2)


def test_a_deleted_entry(desk: Client, attacker: Attacker) -> None:
    write(desk, 5)
    attacker.run("DELETE FROM audit_log WHERE chain = %s AND sequence = 3", desk.id)
    found = broken(desk)
    assert (found.kind, found.sequence) == ("missing", 3)


def test_a_deleted_last_entry(desk: Client, attacker: Attacker) -> None:
    write(desk, 5)
    attacker.run("DELETE FROM audit_log WHERE chain = %s AND sequence = 5", desk.id)
    found = broken(desk)
    assert (found.kind, found.sequence) == ("missing", 5)


def test_two_entries_that_changed_places(desk: Client, attacker: Attacker) -> None:
    write(desk, 5)
    attacker.run(
        "UPDATE audit_log SET sequence = CASE sequence WHEN 2 THEN 94 ELSE 92 END WHERE sequence IN (2, 4)",
    )
    attacker.run("UPDATE audit_log SET sequence = sequence - 90 WHERE sequence > 90")
    found = broken(desk)
    assert (found.kind, found.sequence) == ("reordered", 2)
    assert "follows entry 3" in found.message


def test_entries_of_two_clients_that_changed_places(desk: Client, other: Client, attacker: Attacker) -> None:
    write(desk, 4)
    write(other, 4)
    attacker.run("UPDATE audit_log SET sequence = 99 WHERE chain = %s AND sequence = 2", other.id)
    attacker.run(
        "UPDATE audit_log SET chain = %s, client_id = %s WHERE chain = %s AND sequence = 2",
        other.id, other.id, desk.id,
    )  # fmt: skip
    attacker.run("UPDATE audit_log SET chain = %s, client_id = %s, sequence = 2 WHERE sequence = 99", desk.id, desk.id)
    for client in (desk, other):
        found = broken(client)
        assert (found.kind, found.sequence) == ("foreign", 2)


def test_a_tail_that_was_cut_shows_by_the_signed_head(desk: Client, attacker: Attacker) -> None:
    write(desk, 8)
    export()
    cut_after(attacker, desk, 5)
    found = broken(desk)
    assert (found.kind, found.sequence) == ("cut", 6)
    assert [verdict.broken.kind for verdict in export().refused if verdict.broken] == ["cut"], "and is not signed anew"


def test_a_tail_that_was_cut_and_grown_again_shows_too(desk: Client, attacker: Attacker) -> None:
    write(desk, 8)
    export()
    cut_after(attacker, desk, 5)
    write(desk, 6)
    found = broken(desk)
    assert found.kind == "rewritten"
    assert export().signed == 0


def test_a_whole_client_s_log_that_is_gone(desk: Client, attacker: Attacker) -> None:
    write(desk, 3)
    export()
    attacker.run("DELETE FROM audit_log WHERE chain = %s", desk.id)
    attacker.run("DELETE FROM audit_heads WHERE chain = %s", desk.id)
    found = broken(desk)
    assert (found.kind, found.sequence) == ("cut", 1)


def test_a_head_that_was_set_back_or_removed(desk: Client, attacker: Attacker) -> None:
    write(desk, 5)
    third = AuditEntry.objects.get(sequence=3)
    AuditHead.objects.update(sequence=3, hash=third.hash)
    found = broken(desk)
    assert (found.kind, found.sequence) == ("beyond", 4)
    attacker.run("DELETE FROM audit_heads")
    found = broken(desk)
    assert (found.kind, found.sequence) == ("beyond", 1)


def test_an_exchanged_last_entry(desk: Client, attacker: Attacker) -> None:
    write(desk, 5)
    rewrite_from(attacker, desk, 5)
    AuditHead.objects.update(hash="a" * 64)
    found = broken(desk)
    assert (found.kind, found.sequence) == ("head", 5)


def test_a_chain_rewritten_with_fitting_hashes_shows_between_two_signed_heads(desk: Client, attacker: Attacker) -> None:
    for _ in range(3):
        write(desk, 3)
        export()
    rewrite_from(attacker, desk, 5)
    found = broken(desk)
    assert (found.kind, found.sequence) == ("rewritten", 4)
    assert "entries 4 to 6" in found.message


def test_a_rewritten_end_is_not_signed(desk: Client, attacker: Attacker) -> None:
    write(desk, 3)
    export()
    write(desk, 3)
    attacker.run("UPDATE audit_log SET actor = 'x' WHERE sequence = 5")
    (refused,) = export().refused
    assert refused.broken is not None
    assert (refused.broken.kind, refused.broken.sequence) == ("changed", 5)


def edit_last_line(client: Client, **changed: object) -> None:
    file = heads.file_of(client.id)
    *lines, last = file.read_text().splitlines()
    file.write_text("\n".join([*lines, json.dumps({**json.loads(last), **changed})]) + "\n")


def test_a_forged_signature(desk: Client, attacker: Attacker) -> None:
    write(desk, 6)
    export()
    cut_after(attacker, desk, 4)
    edit_last_line(desk, sequence=4, hash=AuditHead.objects.get().hash)
    found = broken(desk)
    assert found.kind == "forged"
    assert "signature" in found.message
    assert export().refused, "and nothing is signed after it"


def test_a_head_signed_with_a_key_of_one_s_own(desk: Client, attacker: Attacker) -> None:
    write(desk, 6)
    signed = heads.sign(desk.id, 6, AuditHead.objects.get().hash, at=NOW)
    forger = Ed25519PrivateKey.from_private_bytes(b"f" * 32)
    forged = replace(signed, key=forger.public_key().public_bytes_raw().hex())
    heads.keep(forged)
    assert "not ours" in broken(desk).message


def test_a_head_of_another_chain(desk: Client, other: Client) -> None:
    write(desk, 3)
    write(other, 3)
    export()
    heads.file_of(desk.id).write_bytes(heads.file_of(other.id).read_bytes())
    assert "is of chain" in broken(desk).message


@pytest.mark.parametrize("line", ["", "{}", "[]", "nothing", '{"sequence": "x"}', "\x00"])
def test_a_line_that_cannot_be_read(desk: Client, line: str) -> None:
    write(desk, 3)
    export()
    with heads.file_of(desk.id).open("a") as file:
        file.write(line + "\n")
    assert broken(desk).kind == "forged"


def test_a_line_that_a_crash_cut_short_is_passed_over(desk: Client) -> None:
    write(desk, 3)
    export()
    whole = heads.file_of(desk.id).read_bytes()
    heads.file_of(desk.id).write_bytes(whole + whole[:50])
    assert (check(desk).broken, check(desk).signed) == (None, 3)
    write(desk)
    export()
    assert (check(desk).broken, check(desk).signed) == (None, 4)
    assert len(list(heads.all_of(desk.id))) == 2


def test_heads_signed_with_an_earlier_key_verify_while_it_is_known(desk: Client, settings: Settings) -> None:
    write(desk, 3)
    export()
    earlier = settings.SECRET_KEY
    settings.QT_AUDIT_SIGNING_KEY = ["another secret, of 32 characters or more", earlier]
    assert check(desk).broken is None
    write(desk)
    export()
    settings.QT_AUDIT_SIGNING_KEY = ["another secret, of 32 characters or more"]
    assert check(desk).broken is None
    settings.QT_AUDIT_SIGNING_KEY = [earlier]
    assert "QT_AUDIT_SIGNING_KEY" in broken(desk).message


def test_an_old_entry_without_a_signed_head_shows(desk: Client) -> None:
    write(desk, 3)
    export()
    write(desk)
    tomorrow = datetime.now(UTC) + timedelta(days=1, minutes=5)  # however long ago this module was imported
    found = check(desk, tomorrow).broken
    assert found is not None
    assert (found.kind, found.sequence) == ("unsigned", 4)
    export()
    assert check(desk, tomorrow).broken is None
    for file in heads.folder().iterdir():
        file.unlink()
    found = check(desk, tomorrow).broken
    assert found is not None
    assert (found.kind, found.sequence) == ("unsigned", 1)


def test_the_walk_takes_entries_by_the_batch(desk: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    write(desk, 25)
    monkeypatch.setattr(verification, "BATCH", 10)
    seen: list[int] = []
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert verify(desk.id, now=NOW, watch=seen.append).broken is None
    assert seen == [10, 20, 25]
    walked = [query["sql"] for query in captured if "LIMIT 10" in query["sql"]]
    assert len(walked) == 3


def test_signed_heads_are_the_owner_s_alone(desk: Client, mirror_path: Path) -> None:
    write(desk)
    export()
    assert heads.folder().stat().st_mode & 0o777 == 0o700
    assert heads.file_of(desk.id).stat().st_mode & 0o777 == 0o600
    assert heads.folder() == Path(f"{mirror_path}.heads")
