"""``manage.py setup_demo``: a client, logins and prices to look around with."""

import json
import secrets
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from trading.brokers.services import open_paper_account
from trading.marketdata.models import Candle
from trading.tenants.models import Client, Role, User
from trading.tenants.tokens import issue_access_token

CLIENT = "Demo desk"
CASH = Decimal(100_000)
HISTORY_UNTIL = date(2011, 12, 30)
"""The rest of the bundled prices is left for market-refresh to bring, a day each time."""


class Command(BaseCommand):
    """Idempotent: what is there stays. The passwords are kept beside the data, readable by their owner alone."""

    help = "Create the demo client with its logins, a paper account and the bundled prices."

    def add_arguments(self, parser: CommandParser) -> None:
        """The form of the answer."""
        parser.add_argument("--migrate", action="store_true", help="bring the database up to date first")
        parser.add_argument("--json", action="store_true", help="print the logins and a token as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Create what is missing and say how to log in."""
        if settings.APP_ENV == "production":
            raise CommandError("The demo is for looking around: it is not created with APP_ENV=production.")
        if options["migrate"]:
            call_command("migrate", verbosity=0)
        kept = Path(settings.DATA.root) / "demo-logins.json"
        passwords: dict[str, str] = json.loads(kept.read_text()) if kept.exists() else {}
        with transaction.atomic():
            client, _ = Client.objects.get_or_create(name=CLIENT)
            demo = _user("demo", Role.OWNER, client, passwords)
            admin = _user("admin", Role.OPERATOR, None, passwords)
            open_paper_account(client.id, cash=CASH)
        _keep(kept, passwords)
        if not Candle.objects.exists():
            call_command("import_candles", str(settings.BUNDLED_CANDLES), until=HISTORY_UNTIL, stdout=self.stderr)
        logins = {
            "client_id": str(client.id),
            "client_name": client.name,
            "username": demo.username,
            "password": passwords.get("demo"),
            "admin_username": admin.username,
            "admin_password": passwords.get("admin"),
            "token": issue_access_token(demo),
        }
        if options["json"]:
            self.stdout.write(json.dumps(logins))
            return
        for name, value in logins.items():
            self.stdout.write(f"{name}: {value}")


def _user(name: str, role: str, client: Client | None, passwords: dict[str, str]) -> User:
    user = User.objects.filter(username=name).first()
    if user is not None and name in passwords:
        return user
    passwords[name] = secrets.token_urlsafe(12)
    user = user or User(username=name)
    user.role, user.client = role, client
    user.is_staff = user.is_superuser = role == Role.OPERATOR
    user.set_password(passwords[name])
    user.save()
    return user


def _keep(path: Path, passwords: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(passwords))
