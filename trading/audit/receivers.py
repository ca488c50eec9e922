"""What those below say without knowing this log, and the admin's own log of changes."""

import json
import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.core.exceptions import ObjectDoesNotExist
from django.db import transaction
from django.db.models.signals import post_save

from trading.audit.actors import of
from trading.audit.services import record
from trading.core.trail import happened
from trading.tenants.models import Client

_NOT_A_NAME = re.compile(r"[^a-z0-9]+")
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
    with transaction.atomic():
        record(
            f"admin.{_NOT_A_NAME.sub('_', str(kind.name).lower())[:40]}.{_VERBS[instance.action_flag]}",
            client_id=_client_of(instance),
            actor=of(instance.user),
            subject=f"{kind.app_label}.{kind.model}:{instance.object_id}",
            data={"object": instance.object_repr, "change": _change(instance)},
        )


def _change(instance: LogEntry) -> Any:
    try:
        return json.loads(instance.change_message)
    except ValueError:
        return instance.change_message


def _client_of(instance: LogEntry) -> UUID | None:
    """The client whose row was changed; None for what belongs to the platform."""
    try:
        row = instance.get_edited_object()
    except ObjectDoesNotExist:
        return None
    client_id: UUID | None = row.pk if isinstance(row, Client) else getattr(row, "client_id", None)
    return client_id
