"""Whose rows the database shows: one tenant's, the platform's (all), or, without a scope, nobody's.

A scope belongs to a thread and is no transaction: the database backend (`trading.core.postgres`) begins every
transaction and every single statement inside it with the scope's settings, as ``SET LOCAL`` would, so that nothing of
it outlives the transaction on a pooled connection. Postgres's row security does the rest (docs/decisions/0004).

The platform's scope works through another login than a tenant's: what is injected into a tenant's query cannot make
itself the platform.
"""

import threading
from contextlib import ContextDecorator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections, transaction

if TYPE_CHECKING:
    from trading.core.postgres.base import DatabaseWrapper  # which asks this module what to say to the server

OPERATOR_ALIAS = "operator"


class ScopeError(RuntimeError):
    """A scope was entered inside a transaction of another: what that one writes would be seen, or lost, elsewhere."""


@dataclass(frozen=True)
class Scope:
    """A tenant's (``client_id``), the platform's, or nobody's."""

    client_id: UUID | None = None
    is_platform: bool = False


NOBODY = Scope()
PLATFORM = Scope(is_platform=True)
_thread = threading.local()


def current() -> Scope | None:
    """The scope of this thread; None where none has been entered."""
    return getattr(_thread, "scope", None)


class Entered(ContextDecorator):
    """A scope as a context manager, or around each call of a function."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._before: list[Scope | None] = []

    def _recreate_cm(self) -> "Entered":
        """For each call of a decorated function, which threads may make at the same time."""
        return Entered(self._scope)

    def __enter__(self) -> None:
        before = current()
        if self._scope != before:
            _refuse_inside_a_transaction(self._scope)
        # Each remembers what itself came from: where a step was interrupted inside, the others are left as they should.
        self._before.append(before)
        _become(self._scope)

    def __exit__(self, *_: object) -> None:
        _become(self._before.pop())


def tenant_scope(client_id: UUID) -> Entered:
    """Inside, the rows of one client are there, and no others; ``TypeError`` for a client that is no UUID."""
    if not isinstance(client_id, UUID):  # it goes into SQL as it is
        raise TypeError(f"a tenant's scope is a UUID's, not {client_id!r}'s")
    return Entered(Scope(client_id=client_id))


def platform_scope() -> Entered:
    """Inside, the rows of all clients are there: for operators, schedulers and the ledger's upkeep."""
    return Entered(PLATFORM)


def scope_of_run(client_id: UUID | None) -> Entered:
    """The client's that work is done for, or the platform's for work that is nobody's."""
    return platform_scope() if client_id is None else tenant_scope(client_id)


def nobodys_scope() -> Entered:
    """Inside, no tenant's row is there: where it is not known yet who asks."""
    return Entered(NOBODY)


def _refuse_inside_a_transaction(scope: Scope) -> None:
    blocks = transaction.get_connection().atomic_blocks
    if any(not getattr(block, "_from_testcase", False) for block in blocks):
        raise ScopeError(f"Enter {scope} before the transaction: a transaction belongs to one scope, here {current()}.")


def _become(scope: Scope | None) -> None:
    """Take ``scope``, and with it the connection of the login that it works through.

    A step may be interrupted anywhere in here: what was left half done, the next change sets right.
    """
    if scope == current():
        return
    if OPERATOR_ALIAS not in connections.settings:
        _thread.scope = scope
        cast("DatabaseWrapper", transaction.get_connection()).restamp()
        return
    operator, now = connections[OPERATOR_ALIAS], connections[DEFAULT_DB_ALIAS]
    if now is not operator:
        _thread.tenants = now
    connections[DEFAULT_DB_ALIAS] = operator if scope == PLATFORM else _thread.tenants
    _thread.scope = scope
