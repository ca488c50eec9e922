"""Chains to write and to tamper with, and a mirror of the test's own."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction
from pytest_django import Settings

from trading.audit.models import AuditEntry
from trading.audit.services import record
from trading.tenants.models import Client


@pytest.fixture(autouse=True)
def mirror_path(settings: Settings, tmp_path: Path) -> Path:
    """A file that nobody else writes."""
    path = tmp_path / "audit" / "admin_audit.log"
    settings.QT_ADMIN_AUDIT_PATH = str(path)
    return path


@pytest.fixture
def desk(transactional_db: None) -> Client:
    return Client.objects.create(name="Desk")


@pytest.fixture
def other(transactional_db: None) -> Client:
    return Client.objects.create(name="Other")


def write(client: Client | None, count: int = 1, action: str = "test.done") -> list[AuditEntry]:
    """Entries, each in a transaction of its own."""
    entries = []
    for number in range(count):
        with transaction.atomic():
            entries.append(
                record(action, client_id=client and client.id, subject=f"thing:{number}", data={"number": number})
            )
    return entries


@dataclass
class Attacker:
    """The server's superuser, who switches off what stands in the way and then does as he likes."""

    server: psycopg.Connection[tuple[Any, ...]]

    def run(self, sql: str, *arguments: object) -> None:
        """Every trigger and foreign key off, the statement, and on again."""
        with self.server.transaction():
            self.server.execute("ALTER TABLE audit_log DISABLE TRIGGER ALL")
            self.server.execute("SET LOCAL session_replication_role = replica")
            self.server.execute(sql.encode(), arguments)
            self.server.execute("ALTER TABLE audit_log ENABLE TRIGGER ALL")
            self.server.execute("ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_refuse_change")
            self.server.execute("ALTER TABLE audit_log DISABLE TRIGGER audit_log_refuse_truncate")


@pytest.fixture
def attacker(transactional_db: None) -> Iterator[Attacker]:
    """As a superuser, in this test's database."""
    target = connection.settings_dict
    with psycopg.connect(host=target["HOST"], port=target["PORT"], dbname=target["NAME"], user="postgres") as server:
        server.autocommit = True
        yield Attacker(server)
