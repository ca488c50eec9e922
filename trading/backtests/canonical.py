"""JSON in one form: equal values are equal bytes (RFC 8785, JSON Canonicalization Scheme), so that they can be hashed.

Keys are sorted by their UTF-16 code units, nothing is spaced, numbers are written as ECMAScript writes them: 5, 5.0 and
0.5e1 are all ``5``.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Final

LARGEST_INTEGER: Final = 2**53 - 1
"""Past it a double cannot tell neighbours apart, so that two readers could see two numbers."""

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]


def canonical(value: Json) -> bytes:
    """``value`` as canonical JSON in UTF-8.

    Raises ``ValueError`` for NaN, infinities, integers past 2**53 - 1 and lone surrogates, ``TypeError`` for what JSON
    does not know.
    """
    return _text(value).encode("utf-8")


def digest(value: Json) -> str:
    """The SHA-256 of the canonical JSON of ``value``, in hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()


def _text(value: Json) -> str:
    match value:
        case str():
            return _string(value)
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            if abs(value) > LARGEST_INTEGER:
                raise ValueError(f"the integer {value} is past what a double holds exactly (2**53 - 1)")
            return str(value)
        case float():
            return number(value)
        case dict() | Mapping():
            if not all(isinstance(key, str) for key in value):
                raise TypeError("the names of a JSON object are strings")
            return "{" + ",".join([f"{_name(name)}:{_text(value[name])}" for name in sorted(value, key=_place)]) + "}"
        case list() | Sequence() if not isinstance(value, bytes | bytearray):
            return "[" + ",".join(map(_text, value)) + "]"
    raise TypeError(f"JSON knows no {type(value).__name__}")


@lru_cache(maxsize=1_024)
def _place(name: str) -> bytes:
    """By what names are sorted: their UTF-16 code units."""
    return name.encode("utf-16-be", "surrogatepass")


@lru_cache(maxsize=1_024)
def _name(name: str) -> str:
    """A name in quotes; kept, as it is the same few over and over."""
    return _string(name)


def _string(value: str) -> str:
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("a lone surrogate cannot be written in UTF-8")
    return encode_basestring(value)


def number(value: float) -> str:
    """``value`` as ECMAScript's Number::toString writes it: the shortest digits that read back as the same double."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a number that JSON knows")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    rest = f".{digits[1:]}" if count > 1 else ""
    return f"{sign}{digits[0]}{rest}e{point - 1:+d}"
