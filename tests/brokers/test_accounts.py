"""Accounts at venues: tried before they are kept, sealed, opened for a session alone, and never shown."""

from datetime import UTC, datetime
from types import ModuleType
from uuid import UUID

import pytest
from django.db import transaction
from pytest_django import Settings

from tests.brokers.lockbox import lockbox as lockbox
from trading.brokers import accounts
from trading.brokers.accounts import InvalidCredentials
from trading.brokers.base import BrokerError, BrokerRefused, BrokerUnavailable
from trading.brokers.hosts import HostRefused
from trading.brokers.models import AccountStatus, BrokerAccount
from trading.brokers.registry import UnknownBroker
from trading.core.encryption import Keyring, key_id, keyring
from trading.core.ids import uuid7
from trading.tenants.models import Client

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("lockbox")]
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GOOD = {"api_key": "key-canary", "api_secret": "right-secret-of-the-lockbox-canary"}
WRONG = {"api_key": "key-canary", "api_secret": "wrong-secret-canary"}


@pytest.fixture
def client_id() -> UUID:
    return Client.objects.create(name=f"Alpha {uuid7()}").id


def test_a_session_is_opened_with_what_was_stored(client_id: UUID, lockbox: ModuleType) -> None:
    accounts.try_session(client_id, "lockbox", GOOD)
    account = accounts.store(client_id, "lockbox", GOOD, now=NOW)
    lockbox.OPENED.clear()
    with accounts.open_session(client_id, "lockbox") as session:
        assert session.name == "lockbox"
    (opened,) = lockbox.OPENED
    assert opened.api_secret.get_secret_value() == GOOD["api_secret"]
    assert (account.status, account.connected_at, account.tested_at) == (AccountStatus.CONNECTED, NOW, NOW)
    assert account.key == keyring().primary
    assert "canary" not in account.credentials


def test_wrong_credentials_say_so_without_the_secret(client_id: UUID) -> None:
    with pytest.raises(BrokerRefused) as caught:
        accounts.try_session(client_id, "lockbox", WRONG)
    error = caught.value
    assert (error.code, error.status_code) == ("bad_credentials", 502)
    assert "canary" not in f"{error} {error.context} {error.body()}"
    assert error.context == {"sent": ["[hidden]"], "url": "/x?s=[hidden]"}
    assert error.body()["detail"]["message"] == "'[hidden]' is not right"


def test_a_payload_that_does_not_fit_names_its_fields_and_shows_nothing(client_id: UUID) -> None:
    with pytest.raises(InvalidCredentials) as caught:
        accounts.try_session(client_id, "lockbox", {"api_key": "abc", "api_secret": ["canary"], "more": "canary"})
    assert [place for place, _ in caught.value.problems] == [["api_key"], ["api_secret"], ["more"]]
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(InvalidCredentials):
        accounts.try_session(client_id, "paper", {"api_key": "x"})
    with pytest.raises(UnknownBroker):
        accounts.try_session(client_id, "papyrus", {})


def test_a_host_that_is_not_listed_is_refused(client_id: UUID) -> None:
    for host in ("169.254.169.254", "localhost", "evil.example"):
        with pytest.raises(HostRefused):
            accounts.try_session(client_id, "lockbox", {**GOOD, "host": host})


def test_a_venue_is_not_asked_in_a_transaction(client_id: UUID) -> None:
    account = accounts.store(client_id, "lockbox", GOOD, now=NOW)
    with transaction.atomic():
        with pytest.raises(RuntimeError, match="outside transactions"):
            accounts.try_session(client_id, "lockbox", GOOD)
        with pytest.raises(RuntimeError, match="outside transactions"):
            accounts.retest(account, now=NOW)


def test_connecting_again_replaces_what_was_there(client_id: UUID, lockbox: ModuleType) -> None:
    first = accounts.store(client_id, "lockbox", WRONG, now=NOW)
    second = accounts.store(client_id, "lockbox", GOOD, now=NOW)
    assert first.id == second.id
    accounts.open_session(client_id, "lockbox").close()
    assert lockbox.OPENED[-1].api_secret.get_secret_value() == GOOD["api_secret"]


def test_credentials_copied_to_another_client_do_not_open(client_id: UUID) -> None:
    other = Client.objects.create(name=f"Beta {uuid7()}").id
    stored = accounts.store(client_id, "lockbox", GOOD, now=NOW)
    accounts.store(other, "lockbox", GOOD, now=NOW)
    BrokerAccount.objects.filter(client_id=other).update(credentials=stored.credentials)
    with pytest.raises(BrokerRefused) as caught:
        accounts.open_session(other, "lockbox")
    assert caught.value.code == "credentials_locked"


@pytest.mark.parametrize("damage", ["x", "v1.0000000000000000.AAAA", "canary"])
def test_damaged_credentials_do_not_open(client_id: UUID, damage: str) -> None:
    accounts.store(client_id, "lockbox", GOOD, now=NOW)
    BrokerAccount.objects.update(credentials=damage)
    with pytest.raises(BrokerRefused, match="Connect the broker again") as caught:
        accounts.open_session(client_id, "lockbox")
    assert caught.value.code == "credentials_locked"
    assert "canary" not in str(caught.value)


def test_a_key_that_is_gone_locks_and_one_that_is_back_opens(client_id: UUID, settings: Settings) -> None:
    old, new = "o1d-secret-" * 4, "new-secret-" * 4
    settings.ENCRYPTION_KEY = [old]
    account = accounts.store(client_id, "lockbox", GOOD, now=NOW)
    assert key_id(account.credentials) == Keyring([old]).primary
    settings.ENCRYPTION_KEY = [new]
    with pytest.raises(BrokerRefused, match="doctor"):
        accounts.open_session(client_id, "lockbox")
    settings.ENCRYPTION_KEY = [new, old]
    accounts.open_session(client_id, "lockbox").close()


def test_without_an_account_a_venue_with_credentials_refuses_and_paper_opens(client_id: UUID) -> None:
    with pytest.raises(BrokerRefused) as caught:
        accounts.open_session(client_id, "lockbox")
    assert caught.value.code == "no_credentials"
    assert accounts.open_session(client_id, "paper").name == "paper"


def test_a_retest_is_written_down(client_id: UUID, lockbox: ModuleType) -> None:
    account = accounts.store(client_id, "lockbox", GOOD, now=NOW)
    later = NOW.replace(hour=5)
    lockbox.FAULT.append("down")
    account = accounts.retest(account, now=later)
    assert (account.status, account.tested_at) == (AccountStatus.FAILED, later)
    assert account.last_error == "no route, by [hidden]"
    assert account.connected_at == NOW
    lockbox.FAULT.clear()
    account = accounts.retest(account, now=later)
    assert (account.status, account.last_error) == (AccountStatus.CONNECTED, "")


def test_a_retest_of_credentials_that_were_replaced_meanwhile_is_not_written_down(
    client_id: UUID, lockbox: ModuleType
) -> None:
    stale = accounts.store(client_id, "lockbox", GOOD, now=NOW)
    accounts.store(client_id, "lockbox", GOOD, now=NOW)
    lockbox.FAULT.append("down")
    assert accounts.retest(stale, now=NOW.replace(hour=5)).status == AccountStatus.CONNECTED


def test_an_unreachable_venue_may_be_tried_again(client_id: UUID, lockbox: ModuleType) -> None:
    lockbox.FAULT.append("down")
    with pytest.raises(BrokerUnavailable) as caught:
        accounts.try_session(client_id, "lockbox", GOOD)
    assert isinstance(caught.value, BrokerError)
    assert caught.value.status_code == 503
    assert "canary" not in str(caught.value.body())
