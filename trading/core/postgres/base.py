"""The backend itself: ``BEGIN`` and the scope's settings go to the server together, at the cost of one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.conf import settings
from django.db.backends.postgresql import base, operations
from psycopg.pq import DiagnosticField, ExecStatus, TransactionStatus

from trading.core import scope

GOOD = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)


class DatabaseOperations(operations.DatabaseOperations):
    """What Django asks of a backend."""

    def last_executed_query(self, cursor: Any, sql: Any, params: Any) -> str:
        """The statement as it was sent, without the settings that went with it."""
        said = str(super().last_executed_query(cursor, sql, params))
        stamp = _stamp()
        return said if stamp is None else said.removeprefix(f"{stamp.decode()}; ")


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection whose transactions begin in the scope of their thread."""

    ops_class = DatabaseOperations

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute_wrappers.append(_execute_in_scope)

    def ensure_connection(self) -> None:
        """Connect where there is no connection, or one that has broken while nothing was under way on it."""
        if self.connection is not None and self.connection.closed and not self.in_atomic_block:
            self.close()
        super().ensure_connection()

    def _set_autocommit(self, autocommit: bool) -> None:
        super()._set_autocommit(autocommit)  # type: ignore[misc]  # lacking in the stubs
        if not autocommit:
            self._begin()

    @contextmanager
    def in_scope(self) -> Iterator[None]:
        """A statement of its own: in the open transaction, or else in one around it that carries the scope."""
        self.close_if_health_check_failed()
        self.ensure_connection()
        if self.in_atomic_block or not self.autocommit or _stamp() is None:
            yield
            return
        self._begin()
        try:
            yield
        except BaseException:  # also an interrupted step: the connection must not stay in its transaction
            try:
                self._send(b"ROLLBACK")
            except psycopg.Error:
                self.close()
            raise
        with self.wrap_database_errors:
            self._send(b"COMMIT")

    def stamp_alone(self) -> bytes | None:
        """What gives a statement outside a transaction its scope; None inside one, or where there is none to give."""
        self.close_if_health_check_failed()
        self.ensure_connection()
        return None if self.in_atomic_block or not self.autocommit else _stamp()

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

    def _begin(self) -> None:
        stamp = _stamp()
        if stamp is None:
            return
        try:
            with self.wrap_database_errors:
                self._send(b"BEGIN; " + stamp)
        except BaseException:  # also an interrupted step
            self.close()  # nobody knows what it is in the middle of
            raise

    def _send(self, command: bytes) -> None:
        result = self.connection.pgconn.exec_(command)
        if result.status not in GOOD:
            if result.error_field(DiagnosticField.SQLSTATE) is None:  # said by the client: the server is gone
                raise psycopg.OperationalError(result.error_message.decode(errors="replace").strip())
            raise psycopg.errors.error_from_result(result)


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
    """Around every statement of Django's: one outside a transaction gets one, that carries the scope.

    The server takes what comes in one message for one transaction, so that the scope's settings go with the statement,
    at the cost of one. Where they cannot (a cursor of the server's, many sets of parameters), they go before it.
    """
    backend, cursor = context["connection"], context["cursor"]
    together = isinstance(sql, str) and not many and isinstance(cursor.cursor, psycopg.ClientCursor)
    stamp = backend.stamp_alone() if together else None
    if stamp is None:
        with backend.in_scope():
            return execute(sql, params, many, context)
    answer = execute(f"{stamp.decode()}; {sql}", params, many, context)
    cursor.nextset()  # past the answer to the settings
    return answer
