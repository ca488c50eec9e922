"""What may be asked of a venue is counted for all clients together."""

from django.db import migrations

from trading.core.rowsecurity import SharedTable


class Migration(migrations.Migration):
    dependencies = [("core", "0003_rights"), ("brokers", "0007_paper_fills")]
    operations = [SharedTable("broker_budgets")]
