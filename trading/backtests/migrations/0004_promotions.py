"""Which strategies may trade on paper and live."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import trading.core.ids
from trading.core.rowsecurity import TenantTable


class Migration(migrations.Migration):
    dependencies = [
        ("backtests", "0003_sweeps"),
        ("tenants", "0009_governor_parameters"),
    ]

    operations = [
        migrations.CreateModel(
            name="Promotion",
            fields=[
                (
                    "id",
                    models.UUIDField(default=trading.core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("level", models.CharField(choices=[("paper", "Paper"), ("live", "Live")], max_length=8)),
                ("strategy", models.CharField(max_length=64)),
                (
                    "strategy_sha256",
                    models.CharField(help_text="Of the strategy's file as it was tested.", max_length=64),
                ),
                ("run_hash", models.CharField(max_length=64)),
                (
                    "content_hash",
                    models.CharField(help_text="What the run was and left, by its manifest.", max_length=64),
                ),
                ("config", models.JSONField(help_text="The run's configuration.")),
                ("evidence", models.JSONField(help_text="The numbers that the rule looked at.")),
                ("promoted_by", models.CharField(max_length=200)),
                ("promoted_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("demoted_by", models.CharField(blank=True, default="", max_length=200)),
                ("demoted_at", models.DateTimeField(blank=True, null=True)),
                ("demoted_because", models.CharField(blank=True, default="", max_length=500)),
                (
                    "client",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.client",
                    ),
                ),
            ],
            options={
                "db_table": "backtest_promotions",
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["client", "-id"], name="backtest_promotions_by_client")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("demoted_at__isnull", True)),
                        fields=("client", "level", "strategy"),
                        name="backtest_promotions_one_in_force",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("level__in", ["paper", "live"])), name="backtest_promotions_level_known"
                    ),
                ],
            },
        ),
        TenantTable("backtest_promotions"),
    ]
