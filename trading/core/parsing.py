"""JSON as the API takes it: what could not be stored or meant two things is refused."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from rest_framework.parsers import BaseParser

from trading.core.errors import ApiError, invalid

MAX_DEPTH: Final = 32
MAX_DIGITS: Final = 400
_OUTSIDE_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)


class StrictJSONParser(BaseParser):
    """An object in UTF-8 without duplicate keys, NaN, infinities, NUL, lone surrogates or deep nesting."""

    media_type = "application/json"

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The object; raises `trading.core.errors.Invalid`, or 413 for a body past the limit."""
        body = stream.read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
        if len(body) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise RequestDataTooBig
        return parse(body)


def parse(body: bytes) -> dict[str, Any]:
    """``body`` as an object; an empty one is an empty object."""
    if not body.strip():
        return {}
    if _depth(body) > MAX_DEPTH:
        raise invalid(["body"], f"nested more than {MAX_DEPTH} deep")
    try:
        value = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_int=_bounded_int,
            parse_float=_finite_float,
        )
    except UnicodeDecodeError:
        raise invalid(["body"], "not UTF-8") from None
    except ApiError:
        raise
    except (ValueError, RecursionError) as error:
        raise invalid(["body"], f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise invalid(["body"], "must be a JSON object")
    _check_text(value, ["body"])
    return value


def _depth(body: bytes) -> int:
    depth = deepest = 0
    for byte in _OUTSIDE_STRINGS.sub(b"", body):
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise invalid(["body", twice.encode("ascii", "backslashreplace").decode()], "given more than once")
    return found


def _no_constant(name: str) -> Any:
    raise invalid(["body"], f"{name} is not a number that JSON knows")


def _bounded_int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise invalid(["body"], f"a number of {len(text)} digits")
    return int(text)


def _finite_float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise invalid(["body"], "a number past what a float can hold")
    return value


def _check_text(value: Any, loc: list[str | int]) -> None:
    match value:
        case str():
            if "\x00" in value:
                raise invalid(loc, "contains a NUL character")
            if any("\ud800" <= character <= "\udfff" for character in value):
                raise invalid(loc, "contains a lone surrogate")
        case dict():
            for key, item in value.items():
                _check_text(key, loc)
                _check_text(item, [*loc, key])
        case list():
            for index, item in enumerate(value):
                _check_text(item, [*loc, index])
