"""Statements that a session of the server parses and plans once, by ``PREPARE`` and ``EXECUTE``.

The driver's own are not used: they cannot go to the server together in one message, and it forgets them all at each
rollback.
"""

import re
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any, Final, LiteralString
from weakref import WeakKeyDictionary

_VALUE: Final = re.compile(r"%\((\w+)\)s|%%")
_numbers: Final = count(1)
_names: Final[WeakKeyDictionary[Any, dict["Prepared", str]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Prepared:
    """A statement as the server prepares it: ``$1`` for the first of its ``values``, and so on."""

    text: str
    values: tuple[str, ...]

    def call(self, name: str) -> str:
        """What executes it, prepared by that name, with the driver's places for its values."""
        return (
            f"EXECUTE {name}({', '.join(f'%({value})s' for value in self.values)})"
            if self.values
            else f"EXECUTE {name}"
        )


@cache
def prepared(statement: LiteralString) -> Prepared:
    """``statement``, in which values are written ``%(name)s`` as for the driver. The server finds their types."""
    values = tuple(dict.fromkeys(found[1] for found in _VALUE.finditer(statement) if found[1]))
    numbers = {value: f"${number}" for number, value in enumerate(values, 1)}
    return Prepared(_VALUE.sub(lambda found: numbers[found[1]] if found[1] else "%", statement), values)


def names(session: Any) -> dict[Prepared, str]:
    """What this session of the server, a connection of the driver's, has prepared, and by which names."""
    return _names.setdefault(session, {})


def new_name() -> str:
    """One that no session has had, not even for what was interrupted."""
    return f"own_{next(_numbers)}"


def forget(session: Any) -> None:
    """Prepare everything anew: what the session has is no longer what the tables are like."""
    _names.pop(session, None)
