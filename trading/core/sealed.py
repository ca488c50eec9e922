"""A column whose values are sealed for the tenant of their row: see `trading.core.encryption`."""

import uuid
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db import models

from trading.core.encryption import keyring


class SealedField(models.TextField):  # type: ignore[type-arg]  # not subscriptable at run time
    """Holds sealed text, or nothing. Its model's ``client_id`` is the tenant; a rotation finds it by its class."""

    @property
    def context(self) -> str:
        """What the values are bound to beside the tenant: ``table.column``."""
        return f"{self.model._meta.db_table}.{self.column}"


def sealed_fields() -> Iterator[SealedField]:
    """Every sealed column of the platform."""
    for model in apps.get_models():
        for field in model._meta.get_fields():
            if isinstance(field, SealedField) and field.model is model:
                yield field


def _field(row: models.Model, name: str) -> SealedField:
    field: Any = row._meta.get_field(name)
    if not isinstance(field, SealedField):
        raise TypeError(f"{type(row).__name__}.{name} is not a sealed field")
    return field


def _tenant(row: models.Model) -> uuid.UUID:
    tenant = getattr(row, "client_id", None)
    if not isinstance(tenant, uuid.UUID):
        raise TypeError(f"a sealed field belongs to a tenant: {type(row).__name__} has no client_id")
    return tenant


def put(row: models.Model, name: str, plaintext: bytes) -> None:
    """Seal ``plaintext`` into the field ``name`` of ``row``, which the caller saves."""
    setattr(row, name, keyring().seal(plaintext, tenant=_tenant(row), field=_field(row, name).context))


def take(row: models.Model, name: str) -> bytes:
    """What the field ``name`` of ``row`` holds; raises `trading.core.encryption.CannotOpen`."""
    return keyring().open(getattr(row, name), tenant=_tenant(row), field=_field(row, name).context)
