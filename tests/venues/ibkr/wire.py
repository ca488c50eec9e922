"""The framing of the TWS API: a length of four bytes, then fields that each end in a NUL."""

import asyncio
import struct
from collections.abc import Sequence
from decimal import Decimal

UNSET_DOUBLE = "1.7976931348623157E308"
"""What a gateway writes where a number has no value."""
UNSET_INTEGER = "2147483647"
MAX_LENGTH = 0xFFFFFF

Value = str | int | float | bool | Decimal | None


class Malformed(ValueError):
    """Bytes that no client of this API sends."""


def text(value: Value) -> str:
    """A field as it is written: nothing for None, 1 and 0 for booleans, plain digits for numbers."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, float):
        return repr(value)
    return str(value)


def frame(*fields: Value) -> bytes:
    """One message."""
    body = "".join(f"{text(field)}\0" for field in fields).encode()
    return struct.pack(">I", len(body)) + body


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """The next message's body; raises `asyncio.IncompleteReadError` at the end and `Malformed` for a wild length."""
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    if length > MAX_LENGTH:
        raise Malformed(f"a message of {length} bytes")
    return await reader.readexactly(length)


class Fields:
    """A message read from left to right."""

    def __init__(self, values: Sequence[str]) -> None:
        self._values = values
        self._at = 0

    @classmethod
    def of(cls, body: bytes) -> "Fields":
        """The fields of a message's body."""
        return cls(body.decode(errors="backslashreplace").split("\0")[:-1])

    def text(self) -> str:
        """The next field."""
        if self._at >= len(self._values):
            raise Malformed("the message ends too early")
        value = self._values[self._at]
        self._at += 1
        return value

    def integer(self) -> int:
        """The next field as an integer, 0 when it is empty."""
        value = self.text()
        return int(value) if value else 0

    def boolean(self) -> bool:
        """The next field as a truth value."""
        return self.integer() != 0

    def decimal(self) -> Decimal | None:
        """The next field as a number, None when it has no value."""
        value = self.text()
        if not value or value.upper() == UNSET_DOUBLE.upper() or value == "1.7976931348623157e+308":
            return None
        return Decimal(value)

    def skip(self, count: int) -> None:
        """Pass over ``count`` fields."""
        for _ in range(count):
            self.text()

    def rest(self) -> Sequence[str]:
        """What has not been read."""
        return self._values[self._at :]
