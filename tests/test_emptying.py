"""What a transactional test leaves behind is emptied, as Django's own flush would."""

from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management.sql import emit_post_migrate_signal
from django.db import connection, transaction

from tests import emptying
from trading.audit.models import AuditEntry
from trading.audit.services import record
from trading.tenants.models import Client, User


def filled() -> set[str]:
    """Every table of the schema with a row in it, whoever's it is, by the server's own list of tables."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        )
        tables = [name for (name,) in cursor.fetchall()]
        cursor.execute(" UNION ALL ".join(f"(SELECT '{name}' FROM \"{name}\" LIMIT 1)" for name in tables))
        return {name for (name,) in cursor.fetchall()}


def test_nothing_is_left_but_what_migrations_wrote_of_themselves(transactional_db: None) -> None:
    client = Client.objects.create(name="Desk")
    User.objects.create(email="somebody@example.com", client=client)
    with transaction.atomic():
        record("test.done", client_id=client.id, subject="thing:1", data={})
    assert {User._meta.db_table, Client._meta.db_table, AuditEntry._meta.db_table} <= filled()
    emptying.empty()
    assert filled() == {"django_migrations", *emptying.KEPT}


def test_what_is_kept_is_what_a_flush_would_write_again(transactional_db: None) -> None:
    def kept() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        types = ContentType.objects.order_by("app_label", "model").values_list("app_label", "model")
        permissions = Permission.objects.order_by("content_type__app_label", "codename")
        return list(types), list(permissions.values_list("content_type__app_label", "codename"))

    before = kept()
    emit_post_migrate_signal(verbosity=0, interactive=False, db="default")
    assert kept() == before
