"""A client sees its own orders, fills, positions and snapshots, and a fill stays with its order."""

from django.db import migrations

from trading.core.rowsecurity import SameTenant, TenantTable


class Migration(migrations.Migration):
    dependencies = [("core", "0003_rights"), ("execution", "0001_initial")]
    operations = [
        TenantTable("orders"),
        TenantTable("trades"),
        TenantTable("positions"),
        TenantTable("portfolio_snapshots"),
        SameTenant("trades", "order_id", "orders"),
    ]
