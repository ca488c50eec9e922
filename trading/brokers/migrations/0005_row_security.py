"""A client sees its own accounts at venues."""

from django.db import migrations

from trading.core.rowsecurity import TenantTable


class Migration(migrations.Migration):
    dependencies = [("core", "0003_rights"), ("brokers", "0004_ibkr")]
    operations = [
        TenantTable("broker_accounts"),
        TenantTable("ibkr_logins"),
        TenantTable("ibkr_orders"),
        TenantTable("paper_accounts"),
        TenantTable("paper_holdings", column="account_id"),
        TenantTable("paper_orders", column="account_id"),
    ]
