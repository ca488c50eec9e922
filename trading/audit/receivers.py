"""What those below say without knowing this log, and the admin's own log of changes."""

import json
import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.core.exceptions import ObjectDoesNotExist
from django.db import transaction
from django.db.models import Model
from django.db.models.signals import post_save
from django.utils.text import capfirst

from trading.audit.actors import of
from trading.audit.services import record
from trading.core.trail import happened
from trading.tenants.models import Client

_NOT_A_NAME = re.compile(r"[^a-z0-9]+")
_LONGEST_VALUE = 100
_MOST_VALUES = 40
_VERBS = {ADDITION: "added", CHANGE: "changed", DELETION: "deleted"}


def connect() -> None:
    """Listen."""
    happened.connect(on_told, dispatch_uid="audit.told")
    post_save.connect(on_admin_log, sender=LogEntry, dispatch_uid="audit.admin")


def on_told(
    *,
    action: str,
    client_id: UUID | None,
    subject: str,
    data: Mapping[str, Any] | None,
    actor: str | None,
    **kwargs: Any,
) -> None:
    """What `trading.core.trail.tell` was told, in the teller's transaction, or one of its own where there is none."""
    with transaction.atomic():
        record(action, client_id=client_id, subject=subject, data=data, actor=actor)


def on_admin_log(*, instance: LogEntry, created: bool, **kwargs: Any) -> None:
    """An addition, change, deletion or operation in the admin, in the transaction of its own log's line."""
    if not created or instance.content_type is None:
        return
    kind = instance.content_type
    row = _row(instance)
    change = _change(instance)
    data = {"object": instance.object_repr, "change": change}
    if row is not None and isinstance(change, list) and instance.action_flag != DELETION:
        data["values"] = _values(row, change)
    with transaction.atomic():
        record(
            f"admin.{_NOT_A_NAME.sub('_', str(kind.name).lower())[:40]}.{_VERBS[instance.action_flag]}",
            client_id=row.pk if isinstance(row, Client) else getattr(row, "client_id", None),
            actor=of(instance.user),
            subject=f"{kind.app_label}.{kind.model}:{instance.object_id}",
            data=data,
        )


def _row(instance: LogEntry) -> Model | None:
    """What was changed, as it is now; it is still there where it is about to be deleted."""
    try:
        row: Model = instance.get_edited_object()
    except ObjectDoesNotExist:
        return None
    return row


def _change(instance: LogEntry) -> Any:
    """A form's list of what it changed, by the fields' labels, or an operation's sentence."""
    try:
        return json.loads(instance.change_message)
    except ValueError:
        return instance.change_message


def _values(row: Model, change: list[Any]) -> dict[str, str | None]:
    """What the fields of a form became: all of an addition's, else those whose labels are in ``change``."""
    labels = {label for item in change for label in item.get("changed", {}).get("fields", [])}
    is_new = any("added" in item and not item["added"] for item in change)
    return {
        field.name: None if value is None else str(value)[:_LONGEST_VALUE]
        for field in row._meta.concrete_fields[:_MOST_VALUES]
        if field.editable and (is_new or capfirst(field.verbose_name) in labels)
        for value in [getattr(row, field.attname)]
    }
