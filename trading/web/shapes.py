"""JSON values as tables: an object as rows of name and value, a list of alike objects as columns."""

import json
from dataclasses import dataclass
from typing import Any, Literal

MOST_ROWS = 100


@dataclass(frozen=True)
class Shape:
    """How a value is drawn: ``text`` in a line, ``block`` as it is, ``rows`` of name and shape, ``table`` of cells."""

    kind: Literal["text", "block", "rows", "table"]
    text: str = ""
    rows: tuple[tuple[str, "Shape"], ...] = ()
    columns: tuple[str, ...] = ()
    cells: tuple[tuple[str, ...], ...] = ()


def shape(value: Any) -> Shape:
    """The shape of a JSON value."""
    if isinstance(value, dict) and value:
        return Shape("rows", rows=tuple((str(name), shape(item)) for name, item in value.items()))
    if isinstance(value, list) and value and all(_is_flat(item) for item in value):
        columns = tuple(dict.fromkeys(name for item in value for name in item))
        cells = tuple(tuple(_line(item.get(name)) for name in columns) for item in value[:MOST_ROWS])
        return Shape("table", columns=columns, cells=cells, text=_rest(len(value)))
    if isinstance(value, str) and "\n" in value:
        return Shape("block", text=value)
    if isinstance(value, list) and value and not all(isinstance(item, str | int | float) for item in value):
        return Shape("block", text=json.dumps(value, indent=2, ensure_ascii=False))
    return Shape("text", text=_line(value))


def _is_flat(item: Any) -> bool:
    return isinstance(item, dict) and bool(item) and not any(isinstance(part, dict | list) for part in item.values())


def _line(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return "-"
    if isinstance(value, list):
        return ", ".join(_line(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _rest(count: int) -> str:
    return f"and {count - MOST_ROWS} more" if count > MOST_ROWS else ""
