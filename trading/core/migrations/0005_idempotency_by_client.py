"""A kept answer is a client's, as the rows that it tells of are. Those of before are forgotten."""

from django.db import migrations, models

from trading.core.rowsecurity import TenantTable


class Migration(migrations.Migration):
    dependencies = [("core", "0004_idempotency_answers")]
    operations = [
        migrations.AddField(
            model_name="idempotencykey",
            name="client_id",
            field=models.UUIDField(help_text="In whose scope it was asked; empty for the platform's.", null=True),
        ),
        TenantTable("idempotency_keys"),
    ]
