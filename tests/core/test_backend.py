"""The backend: a scope goes with a statement, or with the first of a transaction, and nothing of it stays behind."""

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any, cast
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import IntegrityError, NotSupportedError, OperationalError, ProgrammingError, connection, transaction
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext
from psycopg.pq import TransactionStatus

from trading.core.postgres import base
from trading.core.postgres.base import DatabaseWrapper
from trading.core.scope import PLATFORM, current, nobodys_scope, platform_scope, tenant_scope
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


ADD = "INSERT INTO tenants_client (id, name, is_active, created_at) VALUES (%(id)s, %(name)s, true, now())"


def backend() -> DatabaseWrapper:
    return cast("DatabaseWrapper", transaction.get_connection())


def messages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What goes to the server from now on, a text for each message."""
    sent: list[str] = []
    execute, send = psycopg.Cursor.execute, DatabaseWrapper._send

    def noting_execute(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        sent.append(query if isinstance(query, str) else query.decode())
        return execute(self, query, *arguments, **options)

    def noting_send(self: Any, command: bytes) -> None:
        sent.append(command.decode())
        send(self, command)

    monkeypatch.setattr(psycopg.Cursor, "execute", noting_execute)
    monkeypatch.setattr(DatabaseWrapper, "_send", noting_send)
    return sent


@pytest.fixture
def name() -> Iterator[str]:
    with platform_scope():
        yield f"Left {uuid4().hex}"


def kept(name: str) -> bool:
    return Client.objects.filter(name=name).exists()


def test_a_transaction_begins_with_its_first_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = messages(monkeypatch)
    with tenant_scope(SOMEBODY):
        with transaction.atomic():
            assert not sent
            assert asked(SETTINGS) == [(str(SOMEBODY), "")]
            assert connection.connection.pgconn.transaction_status == TransactionStatus.INTRANS
            assert asked("SELECT %s || '%%'", ["a"]) == [("a%",)]
        assert connection.connection.pgconn.transaction_status == TransactionStatus.IDLE
        assert len(sent) == 2
        with transaction.atomic():
            pass
        assert len(sent) == 2


def test_a_statement_that_was_never_sent_does_not_lose_the_beginning(name: str) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        with pytest.raises(ProgrammingError):
            asked("SELECT %s, %s", ["one too few"])
        Client.objects.create(name=name)
        raise ZeroDivisionError
    assert not kept(name)


def test_what_is_left_goes_with_the_commit(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with transaction.atomic():
        backend().leave(ADD, {"id": uuid4(), "name": name})
    assert kept(name)
    sent = messages(monkeypatch)
    with transaction.atomic():
        backend().leave(ADD, {"id": uuid4(), "name": f"{name} % 2"})
    assert len(sent) == 1
    assert kept(f"{name} % 2")


def test_what_is_left_goes_with_the_next_statement_and_is_seen_by_it(name: str) -> None:
    with transaction.atomic():
        backend().leave(ADD, {"id": uuid4(), "name": name})
        assert kept(name)
        backend().leave(ADD, {"id": uuid4(), "name": f"{name} % 2"})
        assert backend().run(
            "SELECT count(*) AS n FROM tenants_client WHERE name = %(name)s", {"name": f"{name} % 2"}
        ) == [{"n": 1}]
    assert kept(name)


def test_what_is_left_and_fails_fails_the_transaction(name: str) -> None:
    again = Client.objects.create(name=name).id
    with pytest.raises(IntegrityError), transaction.atomic():
        Client.objects.create(name=f"{name} 2")
        backend().leave(ADD, {"id": again, "name": f"{name} 3"})
    assert not kept(f"{name} 2")
    assert connection.connection.pgconn.transaction_status == TransactionStatus.IDLE
    with pytest.raises(IntegrityError), transaction.atomic():
        backend().leave(ADD, {"id": again, "name": f"{name} 3"})
        Client.objects.create(name=f"{name} 2")
    assert not kept(f"{name} 2")


def test_what_is_left_is_rolled_back_to_its_savepoint(name: str) -> None:
    with transaction.atomic():
        backend().leave(ADD, {"id": uuid4(), "name": name})
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            backend().leave(ADD, {"id": uuid4(), "name": f"{name} inside"})
            raise ZeroDivisionError
    assert kept(name)
    assert not kept(f"{name} inside")
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        backend().leave(ADD, {"id": uuid4(), "name": f"{name} gone"})
        raise ZeroDivisionError
    with transaction.atomic():
        pass
    assert not kept(f"{name} gone")


def test_a_statement_is_prepared_once_and_again_where_the_session_has_lost_it(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    statement = "SELECT %(a)s::int + 1 AS b, '%%' AS c"
    with transaction.atomic():
        assert backend().run(statement, {"a": 1}) == [{"b": 2, "c": "%"}]
    sent = messages(monkeypatch)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Client.objects.create(name=name)
        raise ZeroDivisionError
    assert backend().run(statement, {"a": 2}) == [{"b": 3, "c": "%"}]
    assert not any(text.startswith("PREPARE") for text in sent)
    asked_of = psycopg.ClientCursor(connection.connection)
    asked_of.execute("DEALLOCATE ALL")
    with pytest.raises(ProgrammingError):
        backend().run(statement, {"a": 3})
    assert backend().run(statement, {"a": 3}) == [{"b": 4, "c": "%"}]


def test_a_statement_of_its_own_goes_in_one_message_with_its_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    statement = "SELECT current_setting('app.current_client_id') AS client"
    with tenant_scope(SOMEBODY):
        backend().run(statement, {})
        sent = messages(monkeypatch)
        assert backend().run(statement, {}) == [{"client": str(SOMEBODY)}]
        assert len(sent) == 1
        assert connection.connection.pgconn.transaction_status == TransactionStatus.IDLE
        assert left_behind() in ((None, None), ("", ""))


def test_of_statements_of_their_own_that_go_together_all_or_none_are_kept(name: str) -> None:
    values = {"id": uuid4(), "name": name}
    with pytest.raises(IntegrityError):
        backend().run_together((ADD, ADD), values)
    assert not kept(name)
    assert connection.connection.pgconn.transaction_status == TransactionStatus.IDLE
    backend().run_together((ADD,), values)
    assert kept(name)


def test_what_is_left_is_lost_with_the_server_s_session_and_the_next_transaction_has_another(name: str) -> None:
    asked("SELECT 1")
    session = connection.connection.info
    with (
        psycopg.connect(session.dsn, autocommit=True) as other,
        pytest.raises(OperationalError),
        transaction.atomic(),
    ):
        backend().leave(ADD, {"id": uuid4(), "name": name})
        asked("SELECT 1")
        backend().leave(ADD, {"id": uuid4(), "name": f"{name} 2"})
        other.execute("SELECT pg_terminate_backend(%s)", [session.backend_pid])
        time.sleep(0.2)
    assert not kept(name)
    assert not kept(f"{name} 2")


def test_a_statement_is_prepared_again_once_its_columns_have_changed(name: str) -> None:
    statement = "SELECT * FROM changing"
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE changing AS SELECT 1 AS a")
    assert backend().run(statement, {}) == [{"a": 1}]
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE changing ADD COLUMN b int")
    with pytest.raises(NotSupportedError), transaction.atomic():
        backend().run(statement, {})
    assert backend().run(statement, {}) == [{"a": 1, "b": None}]


def test_an_interrupted_beginning_leaves_no_transaction(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    class Stopped(BaseException):
        pass

    def stop(*_: Any) -> None:
        raise Stopped

    with pytest.raises(Stopped), transaction.atomic():
        signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        backend().leave(ADD, {"id": uuid4(), "name": name})
        asked("SELECT pg_sleep(20)")
    assert not kept(name)
    with transaction.atomic():
        backend().leave(ADD, {"id": uuid4(), "name": f"{name} 2"})
    assert kept(f"{name} 2")


def test_a_cursor_of_the_server_s_ends_with_its_transaction(name: str) -> None:
    with transaction.atomic():
        Client.objects.create(name=name)
        rows = Client.objects.filter(name=name).select_for_update().iterator(chunk_size=1)
        assert [one.name for one in rows] == [name]
    assert connection.connection.pgconn.transaction_status == TransactionStatus.IDLE
    assert asked("SELECT count(*) FROM pg_cursors") == [(0,)]


def test_what_is_captured_in_a_transaction_is_the_statement_alone() -> None:
    with tenant_scope(SOMEBODY), CaptureQueriesContext(connection) as captured, transaction.atomic():
        asked("SELECT '100%'")
        asked("SELECT %s", [3])
    assert [query["sql"] for query in captured][1:3] == ["SELECT '100%'", "SELECT 3"]


def test_a_scope_is_left_for_what_was_before_it_also_where_one_inside_was_cut_off() -> None:
    with platform_scope():
        with tenant_scope(SOMEBODY):
            cut = nobodys_scope()
            cut.__enter__()  # and never left
        assert current() == PLATFORM
    assert current() == PLATFORM


def test_a_tenant_is_named_by_a_uuid_as_its_scope_goes_into_sql() -> None:
    with pytest.raises(TypeError):
        tenant_scope(cast("UUID", "', true), set_config('app.is_admin', 'on"))


def test_a_transaction_in_which_an_error_was_swallowed_is_not_committed_in_silence(name: str) -> None:
    with pytest.raises(TransactionManagementError, match="failed"), transaction.atomic():
        Client.objects.create(name=name)
        with pytest.raises(ProgrammingError):
            asked("SELECT nothing_of_that_name")
    assert not kept(name)
    with (
        pytest.raises(TransactionManagementError, match="failed"),
        backend().in_scope(),
        pytest.raises(psycopg.Error),
    ):
        psycopg.Cursor(connection.connection).execute("SELECT nothing_of_that_name")
    assert connection.connection.pgconn.transaction_status == TransactionStatus.IDLE


def test_nothing_is_done_in_a_transaction_that_will_be_rolled_back(name: str) -> None:
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), transaction.atomic(savepoint=False):
            raise ZeroDivisionError
        with pytest.raises(TransactionManagementError):
            backend().run(ADD, {"id": uuid4(), "name": name})
        with pytest.raises(TransactionManagementError):
            backend().leave(ADD, {"id": uuid4(), "name": name})


def test_a_statement_is_left_only_for_the_commit_of_a_transaction(name: str) -> None:
    with pytest.raises(TransactionManagementError, match="open"):
        backend().leave(ADD, {"id": uuid4(), "name": name})
    with transaction.atomic():
        Client.objects.create(name=f"{name} 2")
    assert not kept(name)


class Stopped(KeyboardInterrupt):
    """As the signal that stops a step raises."""


def test_nothing_is_written_into_a_transaction_whose_commit_was_cut_off(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def stop(self: DatabaseWrapper) -> None:
        raise Stopped

    with pytest.raises(Stopped), transaction.atomic():
        Client.objects.create(name=name)
        monkeypatch.setattr(DatabaseWrapper, "_commit", stop)
    monkeypatch.undo()
    Client.objects.create(name=f"{name} 2")
    with ThreadPoolExecutor(1) as elsewhere:
        assert elsewhere.submit(seen_elsewhere, f"{name} 2").result()
    assert not kept(name)


def seen_elsewhere(name: str) -> bool:
    """Over a connection of this thread's own."""
    with platform_scope():
        try:
            return kept(name)
        finally:
            connection.close()


def test_a_statement_wherever_it_is_cut_off_leaves_no_transaction(name: str) -> None:
    """The signal, at each line of the backend in turn: the next write is a transaction of its own."""
    lines = 0

    def cut_at(number: int) -> bool:
        """Whether it came so far."""
        passed = 0

        def at_each_line(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal passed
            if frame.f_code.co_filename not in (base.__file__, transaction.__file__):
                return None if event == "call" else at_each_line
            if event == "line":
                passed += 1
                if passed == number:
                    raise Stopped
            return at_each_line

        before = sys.gettrace()
        sys.settrace(at_each_line)
        try:
            with transaction.atomic():
                backend().leave(ADD, {"id": uuid4(), "name": f"{name} {number}"})
            asked("SELECT 1")
            with connection.cursor() as cursor:
                cursor.executemany("SELECT %s", [[1]])
        except Stopped:
            pass
        finally:
            sys.settrace(before)
        return passed >= number

    while cut_at(lines := lines + 1):
        if connection.in_atomic_block or not connection.get_autocommit():
            connection.close()  # Django knows: a worker's process ends here
            connection.in_atomic_block, connection.atomic_blocks[:], connection.savepoint_ids[:] = False, [], []
            connection.connection = None
            continue
        Client.objects.create(name=f"{name} after {lines}")
        assert connection.connection.pgconn.transaction_status == TransactionStatus.IDLE, lines
        assert backend().run("SELECT pg_current_xact_id_if_assigned() IS NULL AS new", {}) == [{"new": True}]
    assert lines > 40


def test_what_goes_past_the_wrappers_is_refused() -> None:
    with connection.cursor() as cursor:
        for refused in (
            lambda: cursor.callproc("now"),
            lambda: cursor.copy("COPY tenants_client TO STDOUT"),
            lambda: cursor.stream("SELECT 1"),
        ):
            with pytest.raises(NotSupportedError, match="scope"):
                refused()


def test_a_statement_that_was_left_is_prepared_again_where_the_session_has_lost_it(name: str) -> None:
    with transaction.atomic():
        backend().leave(ADD, {"id": uuid4(), "name": name})
    psycopg.ClientCursor(connection.connection).execute("DEALLOCATE ALL")
    with pytest.raises(ProgrammingError), transaction.atomic():
        backend().leave(ADD, {"id": uuid4(), "name": f"{name} 2"})
        asked("SELECT 1")
    with transaction.atomic():
        backend().leave(ADD, {"id": uuid4(), "name": f"{name} 3"})
        asked("SELECT 1")
    assert not kept(f"{name} 2")
    assert kept(f"{name} 3")


def test_a_transaction_without_atomic_ends_with_its_session(name: str) -> None:
    asked("SELECT 1")
    session = connection.connection.info
    transaction.set_autocommit(False)
    try:
        Client.objects.create(name=name)
        with psycopg.connect(session.dsn, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [session.backend_pid])
        for _ in range(2):
            with pytest.raises(OperationalError):
                Client.objects.create(name=f"{name} 2")
    finally:
        connection.close()
    assert not kept(f"{name} 2")


def test_autocommit_is_not_switched_on_in_a_transaction(name: str) -> None:
    transaction.set_autocommit(False)
    Client.objects.create(name=name)
    with pytest.raises(TransactionManagementError, match="open"):
        transaction.set_autocommit(True)
    connection.close()
    assert not kept(name)


def test_whole_numbers_are_prepared_once_whatever_their_size_and_do_not_overflow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    statement = "SELECT %(a)s + %(b)s AS c, 40000 = ANY (%(d)s) AS e"
    sent = messages(monkeypatch)
    assert backend().run(statement, {"a": 32_767, "b": 1, "d": [1]}) == [{"c": 32_768, "e": False}]
    assert backend().run(statement, {"a": 2**31 - 1, "b": -1, "d": [40_000]}) == [{"c": 2**31 - 2, "e": True}]
    assert backend().run(statement, {"a": 2**62, "b": 1, "d": [2**40]}) == [{"c": 2**62 + 1, "e": False}]
    assert sum(text.startswith("PREPARE") for text in sent) == 1
