"""Statements that a session of the server parses and plans once, by ``PREPARE`` and ``EXECUTE``.

The driver's own are not used: they cannot go to the server in one message with others, and it forgets all of them at
each rollback.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from itertools import count
from typing import Any, Final, LiteralString
from weakref import WeakKeyDictionary

from psycopg import Connection
from psycopg.adapt import PyFormat, Transformer

_WIDER: Final = {21: 20, 23: 20, 1005: 1016, 1007: 1016}
"""Types of whole numbers, and of lists of them, by their oid (pg_type.dat): all are sent as ``bigint``.

The driver's follow the value: sums of small ones would overflow, and each size would be prepared by itself.
"""
_VALUE: Final = re.compile(r"%\((\w+)\)s|%%")
_numbers: Final = count(1)
_names: Final[WeakKeyDictionary[Connection[Any], dict[tuple[str, tuple[int, ...]], bytes]]] = WeakKeyDictionary()
"""By session, and by statement and the types of its values, the name that it has there."""


def call(
    session: Connection[Any],
    statement: LiteralString,
    values: Mapping[str, Any],
    prepare: Callable[[bytes], None],
) -> bytes:
    """What executes ``statement``, in which values are written ``%(name)s`` as for the driver.

    What prepares it, where the session has not done so for values of these types, is given to ``prepare`` first.
    """
    text, places = _numbered(statement)
    given = [values[place] for place in places]
    adapting = Transformer(session)
    oids = [adapting.get_dumper(value, PyFormat.TEXT).oid for value in given]
    types = tuple(_WIDER.get(oid, oid) for oid in oids)
    names = _names.setdefault(session, {})
    if (name := names.get((text, types))) is None:
        name = f"own_{next(_numbers)}".encode()  # never one that was interrupted
        prepare(b"PREPARE %b%b AS %b" % (name, _listed(_type(session, oid) for oid in types), text.encode()))
        names[text, types] = name
    return b"EXECUTE %b%b" % (name, _listed(bytes(adapting.as_literal(value)) for value in given))


def forget(session: Connection[Any]) -> None:
    """Prepare everything anew: what this session has is not there any more, or no longer fits the tables."""
    _names.pop(session, None)


@cache
def _numbered(statement: LiteralString) -> tuple[str, tuple[str, ...]]:
    """The statement with ``$1`` for the first of its values, and so on, and their names."""
    places = tuple(dict.fromkeys(found[1] for found in _VALUE.finditer(statement) if found[1]))
    numbers = {place: f"${number}" for number, place in enumerate(places, 1)}
    return _VALUE.sub(lambda found: numbers[found[1]] if found[1] else "%", statement), places


def _type(session: Connection[Any], oid: int) -> bytes:
    """A type's name; ``unknown`` where the server is to find it by itself, as for a text."""
    found = session.adapters.types.get(oid)
    if found is None:
        return b"unknown"
    return f"{found.regtype}{'' if found.oid == oid else '[]'}".encode()


def _listed(parts: Iterable[bytes]) -> bytes:
    listed = b", ".join(parts)
    return b"(%b)" % listed if listed else b""
