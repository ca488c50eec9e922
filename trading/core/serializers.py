"""Requests as JSON means them: no text for a number, no ``true`` for one, no digits of other scripts, no unknown names.

REST framework's fields convert: ``true`` to 1.0, ``"٣"`` and ``"1_000"`` to numbers, ``"yes"`` to true, 7 to an id. A
request that is checked here has said what it meant, or is refused with the field's name.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from rest_framework import serializers

_DECIMAL: Final = re.compile(r"-?[0-9]{1,100}(\.[0-9]{1,100})?")
_ZERO: Final = re.compile(r"-0*(\.0*)?")


class StrictSerializer(serializers.Serializer[Any]):
    """A request's object: every value has its field's JSON type, and there is no other value."""

    def to_internal_value(self, data: Any) -> Any:
        """The checked values; raises REST framework's `ValidationError`, which names each wrong field."""
        if isinstance(data, Mapping):
            fields = {name: field for name, field in self.fields.items() if not field.read_only}
            errors = {
                str(name): [f"Not known here; there are: {', '.join(fields) or 'none'}."]
                for name in data
                if name not in fields
            }
            for name, field in fields.items():
                if name in data and (fault := fault_of(field, data[name])) is not None:
                    errors[name] = [fault]
            if errors:
                raise serializers.ValidationError(errors)
        return super().to_internal_value(data)


def fault_of(field: serializers.Field[Any, Any, Any, Any], value: Any) -> str | None:
    """Why ``field`` does not take ``value``, as JSON gave it; None when its type fits. Null is the field's own."""
    if value is None:
        return None
    match field:
        case serializers.BooleanField():
            return None if isinstance(value, bool) else "Must be true or false."
        case serializers.IntegerField():
            return None if isinstance(value, int) and not isinstance(value, bool) else "Must be a whole number."
        case serializers.FloatField():
            return _number(value)
        case serializers.DecimalField():
            return _decimal(value)
        case serializers.ListField() if isinstance(value, list) and field.child is not None:
            faults = (fault_of(field.child, item) for item in value)
            return next((fault for fault in faults if fault is not None), None)
        case serializers.CharField() | serializers.ChoiceField():
            return None if isinstance(value, str) else "Must be a text."
        case (
            serializers.UUIDField()
            | serializers.DateTimeField()
            | serializers.DateField()
            | serializers.TimeField()
            | serializers.DurationField()
        ):
            return None if isinstance(value, str) and value.isascii() else "Must be a text in ASCII."
    return None


def _number(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e308 < value < 1e308:
        return "Must be a number."
    return "Must not be negative zero." if value == 0 and math.copysign(1, value) < 0 else None


def _decimal(value: Any) -> str | None:
    if not isinstance(value, str):
        return _number(value)
    if not _DECIMAL.fullmatch(value):
        return 'Must be a decimal number such as "12.50".'
    return "Must not be negative zero." if _ZERO.fullmatch(value) else None
