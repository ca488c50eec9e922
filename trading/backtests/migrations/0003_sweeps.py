"""Sweeps, what their parts came to, and the trials that every run and sweep counts as."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

from trading.core.rowsecurity import SameTenant, TenantTable


class Migration(migrations.Migration):
    dependencies = [
        ("backtests", "0002_row_security"),
        ("core", "0003_rights"),
        ("tenants", "0007_platform_tables"),
    ]

    operations = [
        migrations.CreateModel(
            name="Chunk",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("start", models.PositiveIntegerField(help_text="Its first point's place among the sweep's points.")),
                ("stop", models.PositiveIntegerField(help_text="The place after its last point's.")),
                ("body", models.BinaryField(help_text="Figures of its points, as arrays.")),
            ],
            options={
                "db_table": "backtest_chunks",
            },
        ),
        migrations.CreateModel(
            name="Trial",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("market", models.UUIDField(help_text="Which symbols at which timeframe, hashed.")),
                ("trial", models.UUIDField(help_text="Everything that decides the result beside the candles, hashed.")),
                ("strategy", models.CharField(max_length=64)),
                ("sharpe", models.FloatField(help_text="Per bar; empty when the equity fell to zero.", null=True)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "db_table": "backtest_trials",
                "ordering": ["-id"],
            },
        ),
        migrations.RemoveIndex(
            model_name="run",
            name="backtest_runs_by_client",
        ),
        migrations.AddField(
            model_name="run",
            name="kind",
            field=models.CharField(
                choices=[("run", "one backtest"), ("sweep", "a search over many")],
                db_default="run",
                default="run",
                max_length=8,
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(fields=["client", "kind", "-id"], name="backtest_runs_by_client"),
        ),
        migrations.AddField(
            model_name="chunk",
            name="client",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.client"
            ),
        ),
        migrations.AddField(
            model_name="chunk",
            name="run",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="chunks", to="backtests.run"
            ),
        ),
        migrations.AddField(
            model_name="trial",
            name="client",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.client"
            ),
        ),
        migrations.AddIndex(
            model_name="chunk",
            index=models.Index(fields=["client"], name="backtest_chunks_by_client"),
        ),
        migrations.AddConstraint(
            model_name="chunk",
            constraint=models.UniqueConstraint(fields=("run", "start"), name="backtest_chunks_once"),
        ),
        migrations.AddConstraint(
            model_name="chunk",
            constraint=models.CheckConstraint(
                condition=models.Q(("start__lt", models.F("stop"))), name="backtest_chunks_not_empty"
            ),
        ),
        migrations.AddConstraint(
            model_name="trial",
            constraint=models.UniqueConstraint(fields=("client", "market", "trial"), name="backtest_trials_once"),
        ),
        TenantTable("backtest_chunks"),
        TenantTable("backtest_trials"),
        SameTenant("backtest_chunks", "run_id", "backtest_runs"),
    ]
