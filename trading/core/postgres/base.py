"""The backend itself: a transaction's beginning, and its scope, go to the server with its first statement."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, LiteralString, NoReturn

import psycopg
from django.conf import settings
from django.db import DatabaseError, NotSupportedError
from django.db.backends.postgresql import base, operations
from django.db.backends.utils import debug_transaction
from django.db.transaction import TransactionManagementError
from psycopg import errors
from psycopg.pq import DiagnosticField, ExecStatus, TransactionStatus
from psycopg.rows import dict_row

from trading.core import scope
from trading.core.postgres import prepared

GOOD = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)
UNDER_WAY = (TransactionStatus.INTRANS, TransactionStatus.INERROR, TransactionStatus.ACTIVE)


class DatabaseOperations(operations.DatabaseOperations):
    """What Django asks of a backend."""

    connection: "DatabaseWrapper"

    def last_executed_query(self, cursor: Any, sql: Any, params: Any) -> str:
        """The statement as it was sent, without what went ahead of it."""
        said = str(super().last_executed_query(cursor, sql, params))
        return said.removeprefix(f"{self.connection.went_ahead}; ")


class Cursor(base.Cursor):
    """One that refuses what Django hands to the driver past its wrappers: no scope, and no transaction, would go ahead.

    Raises ``NotSupportedError``: such a statement is for a cursor of the driver's, inside `DatabaseWrapper.in_scope`.
    """

    def callproc(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        _refuse("callproc")

    def copy(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        _refuse("copy")

    def stream(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        _refuse("stream")


def _refuse(name: str) -> NoReturn:
    raise NotSupportedError(f"{name} would have no scope: use a cursor of psycopg's, inside connection.in_scope()")


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection whose transactions have the scope of their thread.

    The driver is left in its autocommit mode: it would begin transactions by itself, without their scope and in a
    message of their own. Here a transaction begins in the same message as its first statement.
    """

    ops_class = DatabaseOperations

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute_wrappers.append(_execute_in_scope)
        self.went_ahead = ""
        """Of Django's last statement."""
        self._left: list[bytes] = []

    def get_connection_params(self) -> dict[str, Any]:
        """With cursors of our own."""
        return {**super().get_connection_params(), "cursor_factory": Cursor}

    def ensure_connection(self) -> None:
        """Connect where there is no connection, or one that has broken while nothing was under way on it."""
        if self.connection is not None and self.connection.closed and not self._in_transaction():
            self.close()
        super().ensure_connection()

    def create_cursor(self, name: str | None = None) -> Any:
        """A named one, in a transaction, ends with it: the driver, which knows of none, would have it last."""
        if name is None or self.autocommit:
            return super().create_cursor(name)
        return base.ServerSideCursor(  # type: ignore[call-arg]  # lacking in the stubs
            self.connection, name=name, scrollable=False, withhold=False
        )

    def _set_autocommit(self, autocommit: bool) -> None:
        self._left = []
        if self.connection.pgconn.transaction_status in UNDER_WAY:
            # As after an interrupted commit: what comes next would be in that transaction, and be undone with it.
            self.connection.close()
            if not autocommit or sys.exception() is None:
                raise TransactionManagementError("a transaction was still open, and was undone: commit or roll it back")
            return
        if not self.connection.autocommit:  # a new one
            super()._set_autocommit(True)  # type: ignore[misc]  # lacking in the stubs

    def _commit(self) -> None:
        self._refuse_what_failed()
        if not self._left:
            super()._commit()  # type: ignore[misc]  # lacking in the stubs
            return
        with debug_transaction(self, "COMMIT"), self.wrap_database_errors, self.preparing_anew():
            self._send(b"; ".join([*self.ahead(), b"COMMIT"]))
        self._left = []

    def _refuse_what_failed(self) -> None:
        """The server would roll it back, and say that all is well."""
        session = self.connection
        if session is not None and session.pgconn.transaction_status == TransactionStatus.INERROR:
            raise TransactionManagementError(
                "a statement of this transaction failed, and its error was caught inside: nothing can be kept;"
                " put transaction.atomic() around what may fail"
            )

    def _rollback(self) -> None:
        self._left = []
        super()._rollback()  # type: ignore[misc]  # lacking in the stubs

    def _savepoint_rollback(self, sid: str) -> None:
        self._left = []  # since the savepoint, which took along what was left before
        super()._savepoint_rollback(sid)  # type: ignore[misc]  # lacking in the stubs

    def ahead(self) -> list[bytes]:
        """What is to go to the server before the next statement, in one message with it; `is_done` once it has.

        A statement outside a transaction is one of its own, for which the scope is set.
        """
        self.close_if_health_check_failed()
        self.ensure_connection()
        is_open, status = self._in_transaction(), self.connection.pgconn.transaction_status
        if is_open and status != TransactionStatus.IDLE:  # it has begun
            return self._left
        if status in UNDER_WAY:
            self.connection.close()
            raise TransactionManagementError("a transaction that Django knows nothing of was open, and was undone")
        stamp = [found] if (found := _stamp()) is not None else []
        return [b"BEGIN", *stamp, *self._left] if is_open else stamp

    def is_done(self) -> None:
        """What was to go ahead has gone."""
        self._left = []

    def _in_transaction(self) -> bool:
        return self.in_atomic_block or not self.autocommit

    def leave(self, statement: LiteralString, values: Mapping[str, Any]) -> None:
        """Have the server run ``statement`` with the next one of the open transaction, or else with its commit.

        What it raises comes then, and the transaction fails as it would have here.
        """
        self.validate_no_broken_transaction()
        if not self._in_transaction():
            raise TransactionManagementError("a statement can be left for the commit of an open transaction only")
        with self.wrap_database_errors:
            self._left.append(prepared.call(self.connection, statement, values, self._send))

    def run(self, statement: LiteralString, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of a statement that the server prepares; in the open transaction, or else in one of its own."""
        return self.run_together((statement,), values)[0]

    def run_together(
        self, statements: tuple[LiteralString, ...], values: Mapping[str, Any]
    ) -> list[list[dict[str, Any]]]:
        """The rows of each of ``statements``, which the server prepares, and gets in one message.

        It runs one after the other, each on what had been committed when it began, also while the one before it waited
        for a lock. Where one fails, those after it are not begun.
        """
        self.validate_no_broken_transaction()
        with self.wrap_database_errors:
            ahead = self.ahead()
            calls = [prepared.call(self.connection, statement, values, self._send) for statement in statements]
            cursor = psycopg.ClientCursor(self.connection, row_factory=dict_row)
            with self.preparing_anew():
                cursor.execute(b"; ".join([*ahead, *calls]))
            self.is_done()
            answers = islice(cursor.results(), len(ahead), None)
            return [answer.fetchall() if _has_rows(answer) else [] for answer in answers]

    @contextmanager
    def preparing_anew(self) -> Iterator[None]:
        """Where what the session has prepared does not fit the tables any more, or is gone, it is prepared again."""
        try:
            yield
        except (psycopg.Error, DatabaseError) as error:  # Django's has the driver's for its cause
            if isinstance(error.__cause__ or error, errors.FeatureNotSupported | errors.InvalidSqlStatementName):
                prepared.forget(self.connection)
            raise

    @contextmanager
    def in_scope(self) -> Iterator[None]:
        """A statement of its own: in the open transaction, or else in one around it that carries the scope."""
        self.close_if_health_check_failed()
        self.ensure_connection()
        if self._in_transaction():
            if ahead := self.ahead():
                with self.wrap_database_errors, self.preparing_anew():
                    self._send(b"; ".join(ahead))
                self.is_done()
            yield
            return
        if (stamp := _stamp()) is None:
            yield
            return
        try:
            with self.wrap_database_errors:
                self._send(b"BEGIN; " + stamp)
            yield
            self._refuse_what_failed()
            with self.wrap_database_errors:
                self._send(b"COMMIT")
        except BaseException:  # also an interrupted step: the connection must not stay in its transaction
            try:
                self._send(b"ROLLBACK")
            except psycopg.Error:
                self.close()
            raise

    def restamp(self) -> None:
        """Give an open transaction the scope of now; only for tests, which one transaction encloses."""
        stamp = _stamp()
        if stamp is None or not self.in_atomic_block or self.connection is None:
            return
        status = self.connection.pgconn.transaction_status
        if status == TransactionStatus.IDLE:
            self._send(b"BEGIN; " + stamp)
        elif status == TransactionStatus.INTRANS:  # not INERROR: rolled back, it has the scope of its beginning
            self._send(stamp)

    def _send(self, command: bytes) -> None:
        result = self.connection.pgconn.exec_(command)
        if result.status not in GOOD:
            if result.error_field(DiagnosticField.SQLSTATE) is None:  # said by the client: the server is gone
                raise psycopg.OperationalError(result.error_message.decode(errors="replace").strip())
            raise errors.error_from_result(result)


def _has_rows(answer: psycopg.Cursor[Any]) -> bool:
    return answer.pgresult is not None and answer.pgresult.status == ExecStatus.TUPLES_OK


def _stamp() -> bytes | None:
    """The statement that gives a transaction its scope; None where there is none to give."""
    here = scope.current()
    if here is None:
        return None
    parts = [
        f"set_config('app.current_client_id', '{here.client_id or ''}', true)",
        f"set_config('app.is_admin', '{'on' if here.is_platform else ''}', true)",
    ]
    if scope.OPERATOR_ALIAS not in settings.DATABASES:  # the tests: their one login takes the role of the scope
        role = settings.DATABASE_ROLES["operator" if here.is_platform else "app"]
        parts.append(f"set_config('role', '{role}', true)")
    return f"SELECT {', '.join(parts)}".encode()


def _execute_in_scope(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Around every statement of Django's: what is to go ahead of it goes with it, in one message.

    The server takes such a message for one transaction where none is open. Where it cannot go along (a cursor of the
    server's, many sets of parameters), it goes before.
    """
    backend, cursor = context["connection"], context["cursor"]
    together = isinstance(sql, str) and not many and isinstance(cursor.cursor, psycopg.ClientCursor)
    if not together:
        with backend.in_scope():
            return execute(sql, params, many, context)
    ahead = backend.ahead()
    backend.went_ahead = b"; ".join(ahead).decode()
    if not ahead:
        return execute(sql, params, many, context)
    before = backend.went_ahead if params is None else backend.went_ahead.replace("%", "%%")
    with backend.preparing_anew():
        answer = execute(f"{before}; {sql}", params, many, context)
    backend.is_done()
    for _ in ahead:
        cursor.nextset()  # past the answers to them
    return answer
