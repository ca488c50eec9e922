"""A form for what an adapter asks for, drawn from its model, so that a new venue needs no page of its own."""

import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from trading.brokers.base import Credentials

Kind = Literal["secret", "flag", "integer", "number", "json", "text"]


class NotReadable(ValueError):
    """A value that is not of its field's kind. ``name`` is the field's."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True)
class Input:
    """One field of the form. ``value`` is what stands in it at first: a default, never anything that is stored."""

    name: str
    label: str
    kind: Kind
    is_required: bool
    value: str = ""
    error: str = ""


def inputs(model: type[Credentials], *, given: Mapping[str, str], errors: Mapping[str, str]) -> list[Input]:
    """The form's fields, with what was ``given`` (secrets left out) and what is wrong with it."""
    found = []
    for name, info in model.model_fields.items():
        kind = kind_of(info)
        value = "" if kind == "secret" else given.get(name, _default(info, kind))
        label = name.replace("_", " ").capitalize().replace("Api ", "API ")
        found.append(Input(name, label, kind, info.is_required(), value, errors.get(name, "")))
    return found


def payload(model: type[Credentials], given: Mapping[str, str]) -> dict[str, Any]:
    """What was ``given`` as the model takes it; fields that were left empty are left out. Raises `NotReadable`."""
    found: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        kind, text = kind_of(info), given.get(name, "")
        if kind == "flag":
            found[name] = name in given
        elif text.strip():
            found[name] = _read(name, kind, text)
    return found


def kind_of(info: FieldInfo) -> Kind:
    """How a field is asked for."""
    kinds = [kind for kind in _types(info.annotation) if kind is not types.NoneType]
    one: Any = kinds[0] if len(kinds) == 1 else str
    if not isinstance(one, type):
        return "text"
    if issubclass(one, SecretStr):
        return "secret"
    if issubclass(one, bool):
        return "flag"
    if issubclass(one, int):
        return "integer"
    if issubclass(one, float):
        return "number"
    return "json" if issubclass(one, dict | list | tuple) else "text"


def _types(annotation: Any) -> list[Any]:
    """The types of an annotation, without what only bounds them."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _types(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [kind for argument in typing.get_args(annotation) for kind in _types(argument)]
    return [origin or annotation]


def _read(name: str, kind: Kind, text: str) -> Any:
    if kind in ("secret", "text"):
        return text if kind == "secret" else text.strip()
    try:
        return json.loads(text)
    except ValueError:
        said = {"integer": "Must be a whole number.", "number": "Must be a number."}
        raise NotReadable(name, said.get(kind, 'Must be JSON, such as {"YM": "CBOT"}.')) from None


def _default(info: FieldInfo, kind: Kind) -> str:
    value = info.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined or value in (None, "", {}, []):
        return ""
    return json.dumps(value) if kind in ("json", "integer", "number") else ("on" if value is True else str(value))
