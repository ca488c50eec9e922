"""How those who stand below the audit log say what belongs in it: it listens, and writes in their transaction."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from django.dispatch import Signal

happened: Final = Signal()


def tell(
    action: str,
    *,
    client_id: UUID | None = None,
    subject: str = "",
    data: Mapping[str, Any] | None = None,
    actor: str | None = None,
) -> None:
    """Have what was done recorded, with the arguments of `trading.audit.services.record`, which says what each means.

    Raises ``RuntimeError`` when nobody listens, and whatever the listener does: what cannot be recorded is not done.
    """
    if not happened.has_listeners():
        raise RuntimeError("nobody keeps an audit log: trading.audit is not among the installed applications")
    happened.send(tell, action=action, client_id=client_id, subject=subject, data=data, actor=actor)
