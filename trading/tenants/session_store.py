"""Django's sessions in the database, which only the platform's login may read: a key there is as good as a password."""

from typing import Any

from django.contrib.sessions.backends import db

from trading.core.scope import platform_scope


class SessionStore(db.SessionStore):
    """Loads and saves for the platform, whoever the session turns out to be of."""

    @platform_scope()
    def load(self) -> dict[str, Any]:
        """The session's data; empty for one that is not there or over."""
        return super().load()

    @platform_scope()
    def exists(self, session_key: str) -> bool:
        """Whether a session has this key."""
        return super().exists(session_key)

    @platform_scope()
    def save(self, must_create: bool = False) -> None:
        """Write the session."""
        super().save(must_create)

    @platform_scope()
    def delete(self, session_key: str | None = None) -> None:
        """Forget the session."""
        super().delete(session_key)
