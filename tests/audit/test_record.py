"""One entry: in the transaction of what it records, in its place, without secrets."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest
from django.db import IntegrityError, connection, connections, transaction
from structlog.contextvars import bound_contextvars

from tests.audit.conftest import Attacker, write
from trading.audit.models import PLATFORM, AuditEntry, AuditHead
from trading.audit.services import record
from trading.audit.verification import verify
from trading.core.scope import platform_scope
from trading.tenants.models import Client

CANARY = "canary-5f1e7c3b9a"


def test_an_entry_says_who_did_what_to_what(desk: Client) -> None:
    with transaction.atomic(), bound_contextvars(job="execution-cycle", request_id="r-1"):
        record("order.sent", client_id=desk.id, subject="order:7", data={"quantity": Decimal("1.50"), "side": "buy"})
    entry = AuditEntry.objects.get()
    assert (entry.client_id, entry.chain, entry.sequence) == (desk.id, desk.id, 1)
    assert (entry.actor, entry.action, entry.subject, entry.request_id) == (
        "job:execution-cycle",
        "order.sent",
        "order:7",
        "r-1",
    )
    assert entry.data == {"quantity": "1.5", "side": "buy"}
    assert abs((datetime.now(UTC) - entry.at).total_seconds()) < 5


def test_the_hash_can_be_computed_by_anybody(desk: Client) -> None:
    """By hand, from what docs/audit.md says, without any of our code."""
    write(desk, 2)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, chain, sequence, at, actor, action, subject, data, request_id, previous_hash, hash"
            " FROM audit_log ORDER BY sequence"
        )
        rows = cursor.fetchall()
    previous = "0" * 64
    for id_, chain, sequence, at, actor, action, subject, data, request_id, previous_hash, hash_ in rows:
        text = (
            f'{{"action":"{action}","actor":"{actor}","at":"{at:%Y-%m-%dT%H:%M:%S.%f}Z","chain":"{chain}",'
            f'"data":{json.dumps(json.loads(data), separators=(",", ":"))},"id":"{id_}",'
            f'"previous_hash":"{previous_hash}","request_id":"{request_id}","sequence":{sequence},'
            f'"subject":"{subject}"}}'
        )
        assert hashlib.sha256(text.encode()).hexdigest() == hash_
        assert previous_hash == previous
        previous = hash_


def test_outside_a_transaction_nothing_is_recorded(transactional_db: None) -> None:
    with pytest.raises(RuntimeError, match="transaction"):
        record("test.done")
    assert not AuditEntry.objects.exists()


def test_a_rollback_leaves_no_row_and_no_gap(desk: Client) -> None:
    write(desk, 2)
    with pytest.raises(IntegrityError), transaction.atomic():
        record("test.undone", client_id=desk.id)
        Client.objects.create(name="Desk")
    with transaction.atomic():
        with pytest.raises(IntegrityError), transaction.atomic():
            record("test.undone", client_id=desk.id)
            Client.objects.create(name="Desk")
        record("test.done", client_id=desk.id)
    assert [entry.sequence for entry in AuditEntry.objects.order_by("sequence")] == [1, 2, 3]
    assert not AuditEntry.objects.filter(action="test.undone").exists()
    assert verify(desk.id, now=datetime.now(UTC)).broken is None


def test_each_client_and_the_platform_have_chains_of_their_own(desk: Client, other: Client) -> None:
    for client in (desk, None, other, desk, None, desk):
        write(client)
    ends = dict(AuditHead.objects.values_list("chain", "sequence"))
    assert ends == {desk.id: 3, other.id: 1, PLATFORM: 2}


def test_writers_of_one_chain_take_turns_and_leave_no_gap(desk: Client) -> None:
    @platform_scope()
    def write_fifty(number: int) -> None:
        try:
            for _ in range(50):
                with transaction.atomic():
                    record("test.raced", client_id=desk.id, data={"writer": number})
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write_fifty, range(8)))
    entries = list(AuditEntry.objects.order_by("sequence"))
    assert [entry.sequence for entry in entries] == list(range(1, 401))
    assert [entry.id for entry in entries] == sorted(entry.id for entry in entries), "ids grow along the chain"
    assert [entry.at for entry in entries] == sorted({entry.at for entry in entries})
    assert verify(desk.id, now=datetime.now(UTC)).broken is None


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit_log SET actor = 'x'",
        "UPDATE audit_log SET actor = 'x' WHERE false",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "TRUNCATE tenants_client CASCADE",
        "INSERT INTO audit_log SELECT * FROM audit_log ON CONFLICT (id) DO UPDATE SET actor = 'x'",
    ],
)
def test_the_database_refuses_to_change_the_log_whoever_asks(
    desk: Client, attacker: Attacker, sql: LiteralString
) -> None:
    write(desk)
    for role in ("origin", "replica"):  # the second switches ordinary triggers off
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"), attacker.server.transaction():
            attacker.server.execute("ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_refuse_truncate")
            attacker.server.execute("SELECT set_config('session_replication_role', %s, true)", [role])
            attacker.server.execute(sql)
    assert AuditEntry.objects.get().actor == "system"


def test_secrets_do_not_get_in(desk: Client) -> None:
    with transaction.atomic():
        record(
            "settings.changed",
            client_id=desk.id,
            actor=f"user:1 password={CANARY}",
            subject=f"thing:1 token={CANARY}",
            data={
                "password": CANARY,
                "broker": {"api_key": CANARY, "credentials": {"a": CANARY}, "list": [{"client_secret": CANARY}]},
                "sent": f"Authorization: Bearer {CANARY}",
                "url": f"https://venue.example/?access_token={CANARY}&x=1",
            },
        )
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(a)::text FROM audit_log a")
        (text,) = cursor.fetchone()
    assert CANARY not in text
    assert "[hidden]" in text


@pytest.mark.parametrize("value", [1.5, float("nan"), Decimal("NaN"), b"x", {1, 2}, object(), 2**70])
def test_what_has_no_exact_form_is_refused(desk: Client, value: object) -> None:
    with pytest.raises(TypeError, match="exact form"), transaction.atomic():
        record("test.done", client_id=desk.id, data={"value": value})


def test_more_than_is_taken_is_refused_and_long_text_is_cut(desk: Client) -> None:
    with pytest.raises(ValueError, match="bytes"), transaction.atomic():
        record("test.done", client_id=desk.id, data={str(number): "x" * 400 for number in range(100)})
    deep: dict[str, object] = {}
    for _ in range(20):
        deep = {"deeper": deep}
    with pytest.raises(ValueError, match="deep"), transaction.atomic():
        record("test.done", client_id=desk.id, data=deep)
    with transaction.atomic():
        entry = record(
            "test.done", client_id=desk.id, subject="s" * 999, data={"text": "x" * 999, "nul": "a\x00\ud800"}
        )
    entry.refresh_from_db()
    assert (len(entry.subject), len(entry.data["text"]), entry.data["nul"]) == (200, 500, "a\ufffd?")


@pytest.mark.parametrize("action", ["", "done", "Order.sent", "order sent", "order.", "a." + "b" * 70])
def test_an_action_is_a_dotted_name(desk: Client, action: str) -> None:
    with pytest.raises(ValueError, match="dotted name"), transaction.atomic():
        record(action, client_id=desk.id)


def test_a_row_of_another_client_s_chain_cannot_be_written(desk: Client, other: Client) -> None:
    write(desk)
    entry = AuditEntry(**{**AuditEntry.objects.get().contents, "id": UUID(int=1), "client_id": other.id, "sequence": 2})
    with pytest.raises(IntegrityError, match="audit_log_chain"):
        entry.save(force_insert=True)


def test_a_clock_that_steps_back_does_not_bring_entries_out_of_order(desk: Client, attacker: Attacker) -> None:
    (first,) = write(desk)
    ahead = datetime(2100, 1, 1, tzinfo=UTC)
    AuditHead.objects.update(at=ahead)
    second, third = write(desk, 2)
    assert first.at < ahead < second.at < third.at
    assert first.id < second.id < third.id
