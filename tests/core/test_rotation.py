"""Changing the key while others write: nothing is lost, nothing stays behind, and a cut-off run goes on."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from io import StringIO
from threading import Event
from types import ModuleType
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import connection
from pytest_django import Settings

from tests.brokers.lockbox import lockbox as lockbox
from trading.brokers import accounts
from trading.brokers.models import BrokerAccount
from trading.core import rotation, sealed
from trading.core.encryption import Keyring, key_id
from trading.core.rotation import Report, rotate, standings
from trading.core.scope import platform_scope
from trading.core.sealed import sealed_fields
from trading.operations.diagnosis import Finding, diagnose
from trading.tenants.models import Client

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("lockbox")]
OLD, NEW, GONE = "o1d-secret-" * 4, "new-secret-" * 4, "g0ne-secret-" * 4
FIRST = Keyring([NEW]).primary
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def clients(settings: Settings) -> list[UUID]:
    """Twelve clients with credentials under the old key; both keys are there, the new one first."""
    settings.ENCRYPTION_KEY = [OLD]
    made = [Client.objects.create(name=f"Client {number}").id for number in range(12)]
    for number, client_id in enumerate(made):
        keep(client_id, number)
    settings.ENCRYPTION_KEY = [NEW, OLD]
    return made


def keep(client_id: UUID, number: int) -> None:
    payload = {"api_key": f"key-{number:04}", "api_secret": f"secret-{number:04}"}
    accounts.store(client_id, "lockbox", payload, now=NOW)


def kept() -> dict[UUID, str]:
    return {
        row.client_id: json.loads(sealed.take(row, "credentials"))["api_secret"] for row in BrokerAccount.objects.all()
    }


def keys() -> set[str]:
    return {key_id(row.credentials) for row in BrokerAccount.objects.all()}


def findings() -> list[Finding]:
    return [finding for finding in diagnose() if finding.subject == "encryption"]


def test_everything_comes_under_the_first_key_and_means_the_same(clients: list[UUID], settings: Settings) -> None:
    before = kept()
    (report,) = rotate()
    assert (report.rotated, report.changed_meanwhile, dict(report.locked)) == (12, 0, {})
    assert keys() == {FIRST}
    settings.ENCRYPTION_KEY = [NEW]
    assert kept() == before
    (again,) = rotate()
    assert again.rotated == 0


def test_a_dry_run_opens_all_and_changes_nothing(clients: list[UUID]) -> None:
    before = list(BrokerAccount.objects.order_by("id").values_list("credentials", flat=True))
    (report,) = rotate(dry_run=True)
    assert report.rotated == 12
    assert list(BrokerAccount.objects.order_by("id").values_list("credentials", flat=True)) == before


def test_writers_at_the_same_time_lose_nothing(clients: list[UUID], settings: Settings) -> None:
    """Half of the writers still seal under the old key, as processes do that were not restarted yet."""
    last: dict[UUID, str] = {}
    finished = Event()

    @platform_scope()
    def write(client_id: UUID, turn: int) -> None:
        try:
            for number in range(25):
                value = 1000 + turn * 100 + number
                payload = {"api_key": "key-0000", "api_secret": f"secret-{value:04}"}
                ring = Keyring([OLD]) if number % 2 else Keyring([NEW])
                text = ring.seal(json.dumps(payload).encode(), tenant=client_id, field="broker_accounts.credentials")
                BrokerAccount.objects.filter(client_id=client_id).update(credentials=text)
                last[client_id] = f"secret-{value:04}"
        finally:
            connection.close()

    @platform_scope()
    def keep_rotating() -> int:
        try:
            rounds = 0
            while not finished.is_set():
                rotate()
                rounds += 1
            return rounds
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        rotating = pool.submit(keep_rotating)
        writing = [pool.submit(write, client_id, turn) for turn, client_id in enumerate(clients[:6])]
        for one in writing:
            one.result()
        finished.set()
        assert rotating.result() >= 1
    rotate()
    settings.ENCRYPTION_KEY = [NEW]
    assert keys() == {FIRST}
    values = kept()
    assert {client_id: values[client_id] for client_id in clients[:6]} == last
    assert [values[client_id] for client_id in clients[6:]] == [f"secret-{number:04}" for number in range(6, 12)]


def test_a_value_that_changes_between_reading_and_writing_is_left_to_its_writer(
    clients: list[UUID], monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    seal, calls = Keyring.seal, []

    @platform_scope()
    def seal_slowly(self: Keyring, plaintext: bytes, *, tenant: UUID, field: str) -> str:
        if not calls:
            calls.append(1)
            old = Keyring([OLD])
            text = seal(old, b'{"api_key": "k", "api_secret": "the writer\'s"}', tenant=tenant, field=field)
            BrokerAccount.objects.filter(client_id=tenant).update(credentials=text)
            calls.append(tenant)  # type: ignore[arg-type]
        return seal(self, plaintext, tenant=tenant, field=field)

    monkeypatch.setattr(Keyring, "seal", seal_slowly)
    (report,) = rotate()
    assert (report.rotated, report.changed_meanwhile) == (12, 1)
    settings.ENCRYPTION_KEY = [NEW]
    assert kept()[calls[1]] == "the writer's"  # type: ignore[index]


def test_a_run_that_is_cut_off_goes_on(clients: list[UUID], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "PAGE", 5)

    @platform_scope()
    def cut(report: Report) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rotate(progress=cut)
    (standing,) = standings()
    assert standing.by_key == {FIRST: 5, Keyring([OLD]).primary: 7}
    (report,) = rotate()
    assert report.rotated == 7


def test_what_no_key_opens_stays_and_is_reported(clients: list[UUID], settings: Settings) -> None:
    settings.ENCRYPTION_KEY = [GONE]
    keep(clients[0], 0)
    settings.ENCRYPTION_KEY = [NEW, OLD]
    BrokerAccount.objects.filter(client_id=clients[1]).update(credentials="v1.damaged")
    copied = BrokerAccount.objects.get(client_id=clients[2]).credentials
    BrokerAccount.objects.filter(client_id=clients[3]).update(credentials=copied)
    before = dict(BrokerAccount.objects.values_list("client_id", "credentials"))
    (report,) = rotate()
    assert report.rotated == 9
    assert sum(report.locked.values()) == 3
    after = dict(BrokerAccount.objects.values_list("client_id", "credentials"))
    assert [client_id for client_id in clients if before[client_id] == after[client_id]] == [*clients[:2], clients[3]]


def test_the_command_says_what_it_did_and_what_remains(clients: list[UUID], settings: Settings) -> None:
    @platform_scope()
    def run(*arguments: str) -> tuple[int, str]:
        out = StringIO()
        try:
            call_command("rotate_encryption_key", *arguments, stdout=out, stderr=out)
        except SystemExit as ended:
            return int(ended.code or 0), out.getvalue()
        return 0, out.getvalue()

    status, text = run("--dry-run")
    assert status == 1
    assert "12 would be encrypted again" in text
    assert "0 under the first key, 12 under older ones, 0 under keys" in text
    status, text = run()
    assert status == 0
    assert "broker_accounts.credentials: 12 so far" in text
    assert "Nothing remains" in text
    settings.ENCRYPTION_KEY = [GONE]
    status, text = run()
    assert status == 1
    assert "12 under keys that ENCRYPTION_KEY does not hold" in text
    assert FIRST in text
    assert "secret-" not in text


def test_the_doctor_finds_older_and_unknown_keys(clients: list[UUID], settings: Settings) -> None:
    assert [(finding.level, finding.message[:2]) for finding in findings()] == [("warning", "12")]
    rotate()
    assert [finding.level for finding in findings()] == ["ok"]
    settings.ENCRYPTION_KEY = [GONE]
    (finding,) = findings()
    assert finding.level == "error"
    assert FIRST in finding.message
    assert "rotate-encryption-key.md" in finding.fix


def test_every_sealed_column_is_found_by_its_class() -> None:
    assert "broker_accounts.credentials" in {column.context for column in sealed_fields()}
    for column in sealed_fields():
        assert column.model._meta.get_field("client").attname == "client_id"


def test_a_plain_column_and_a_row_without_a_tenant_are_refused(lockbox: ModuleType) -> None:
    with pytest.raises(TypeError, match="not a sealed field"):
        sealed.put(BrokerAccount(client_id=UUID(int=1)), "broker", b"x")
    with pytest.raises(TypeError, match="client_id"):
        sealed.put(BrokerAccount(), "credentials", b"x")
