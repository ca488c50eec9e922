"""A client sees its own reservations and decisions."""

from django.db import migrations

from trading.core.rowsecurity import TenantTable


class Migration(migrations.Migration):
    dependencies = [("core", "0003_rights"), ("risk", "0002_guard")]
    operations = [
        TenantTable("risk_accounts"),
        TenantTable("risk_reservations"),
        TenantTable("risk_decisions"),
    ]
