"""The backend: a statement outside a transaction carries its scope in one message, and leaves nothing behind."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import ProgrammingError, connection
from django.test.utils import CaptureQueriesContext
from psycopg.pq import TransactionStatus

from trading.core.scope import platform_scope, tenant_scope
from trading.tenants.models import Client

pytestmark = pytest.mark.django_db(transaction=True)
SOMEBODY = UUID(int=7)
SETTINGS = "SELECT current_setting('app.current_client_id', true), current_setting('app.is_admin', true)"


def asked(sql: str, params: Sequence[Any] | None = None) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()


def left_behind() -> tuple[str | None, ...] | None:
    """The settings of the connection itself, asked past the backend."""
    return psycopg.Cursor(connection.connection).execute(SETTINGS).fetchone()


def test_the_scope_goes_with_each_statement_and_ends_with_it() -> None:
    with tenant_scope(SOMEBODY):
        assert asked(SETTINGS) == [(str(SOMEBODY), "")]
        assert connection.connection.pgconn.transaction_status == TransactionStatus.IDLE
        assert left_behind() in ((None, None), ("", ""))
        assert asked("SELECT %s || '%%'", ["a; b"]) == [("a; b%",)]
    with platform_scope():
        assert asked(SETTINGS) == [("", "on")]


def test_a_write_is_committed_and_counted() -> None:
    with platform_scope():
        client = Client.objects.create(name="Alpha")
        assert Client.objects.filter(id=client.id).update(name="Beta") == 1
        assert connection.connection.pgconn.transaction_status == TransactionStatus.IDLE
        assert [one.name for one in Client.objects.filter(id=client.id).iterator(chunk_size=1)] == ["Beta"]


def test_a_statement_that_fails_leaves_no_transaction() -> None:
    with tenant_scope(SOMEBODY):
        with pytest.raises(ProgrammingError):
            asked("SELECT nothing_of_that_name")
        assert connection.connection.pgconn.transaction_status == TransactionStatus.IDLE
        assert asked("SELECT 1") == [(1,)]


def test_what_is_captured_is_the_statement_alone() -> None:
    with tenant_scope(SOMEBODY), CaptureQueriesContext(connection) as captured:
        asked("SELECT %s", [3])
    assert [query["sql"] for query in captured] == ["SELECT 3"]
