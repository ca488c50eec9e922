"""A client sees its own backtests."""

from django.db import migrations

from trading.core.rowsecurity import TenantTable


class Migration(migrations.Migration):
    dependencies = [("core", "0003_rights"), ("backtests", "0001_initial")]
    operations = [
        TenantTable("backtest_runs"),
        TenantTable("backtest_manifests"),
        TenantTable("backtest_presets"),
    ]
