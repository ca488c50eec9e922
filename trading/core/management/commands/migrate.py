"""``manage.py migrate``: as Django's own, through the login that owns the schema."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.core.management.commands import migrate
from django.db import DEFAULT_DB_ALIAS

OWNER_ALIAS = "owner"


class Command(migrate.Command):
    """Migrate the schema as its owner."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Django's arguments, with the owner's login for the default."""
        super().add_arguments(parser)
        parser.set_defaults(database=OWNER_ALIAS if OWNER_ALIAS in settings.DATABASES else DEFAULT_DB_ALIAS)

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate."""
        super().handle(*args, **options)
