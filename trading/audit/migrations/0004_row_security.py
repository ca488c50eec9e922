"""A client sees its own log; nobody's login may change an entry."""

from django.db import migrations

from trading.core.rowsecurity import AppendOnly, TenantTable


class Migration(migrations.Migration):
    dependencies = [("core", "0003_rights"), ("audit", "0003_switches")]
    operations = [
        TenantTable("audit_heads"),
        TenantTable("audit_log"),
        AppendOnly("audit_log"),
    ]
