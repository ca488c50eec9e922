"""Differences between venues and us, what explains them, and when each account was last compared."""

import django.db.models.deletion
from django.db import migrations, models

import trading.core.ids
from trading.core.rowsecurity import AppendOnly, SameTenant, TenantTable

FORWARDS = """
CREATE FUNCTION order_differences_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.resolved_at IS NOT NULL
        OR (NEW.id, NEW.client_id, NEW.broker, NEW.kind, NEW.symbol, NEW.subject, NEW.found_at)
        IS DISTINCT FROM (OLD.id, OLD.client_id, OLD.broker, OLD.kind, OLD.symbol, OLD.subject, OLD.found_at) THEN
        RAISE EXCEPTION 'a difference is resolved once, and kept' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER order_differences_keep BEFORE UPDATE OR DELETE ON order_differences
    FOR EACH ROW EXECUTE FUNCTION order_differences_keep();
"""
BACKWARDS = """
DROP TRIGGER order_differences_keep ON order_differences;
DROP FUNCTION order_differences_keep();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("core", "0003_rights"),
        ("execution", "0006_trades_closing"),
        ("tenants", "0009_governor_parameters"),
    ]

    operations = [
        migrations.AddField(
            model_name="fill",
            name="fee_asset",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="What the fee was taken in; empty: money.",
                max_length=32,
            ),
        ),
        migrations.CreateModel(
            name="Difference",
            fields=[
                (
                    "id",
                    models.UUIDField(default=trading.core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("broker", models.CharField(max_length=32)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("unknown_order", "An order there that we do not know"),
                            ("missing_order", "An order of ours that the venue does not show"),
                            ("open_order", "An order that has ended here and is open there"),
                            ("unknown_fill", "A fill there of no order of ours"),
                            ("overfilled", "More filled than was ordered"),
                            ("revived", "A rejected or written-off order that lives"),
                            ("position", "Another position"),
                            ("balance", "Another balance"),
                            ("sum", "A position that is not the sum of its fills"),
                        ],
                        max_length=20,
                    ),
                ),
                ("symbol", models.CharField(blank=True, default="", help_text="Empty for money.", max_length=32)),
                (
                    "subject",
                    models.CharField(help_text="An order's or an execution's id, a symbol, an asset.", max_length=64),
                ),
                ("ours", models.CharField(max_length=200)),
                ("theirs", models.CharField(max_length=200)),
                (
                    "quantity",
                    models.DecimalField(
                        blank=True,
                        decimal_places=8,
                        help_text="Theirs less ours, where it is a quantity.",
                        max_digits=28,
                        null=True,
                    ),
                ),
                ("data", models.JSONField(blank=True, default=dict, help_text="What the venue said; money as text.")),
                ("found_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField(help_text="When it was last found to stand.")),
                ("resolved_at", models.DateTimeField(blank=True, null=True)),
                ("resolved_by", models.CharField(blank=True, default="", max_length=150)),
                ("resolution", models.CharField(blank=True, default="", max_length=300)),
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
                "db_table": "order_differences",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Adjustment",
            fields=[
                (
                    "id",
                    models.UUIDField(default=trading.core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("broker", models.CharField(max_length=32)),
                (
                    "is_money",
                    models.BooleanField(help_text="An amount of the currency; otherwise a quantity of a symbol."),
                ),
                ("asset", models.CharField(help_text="The symbol, or the currency.", max_length=32)),
                ("quantity", models.DecimalField(decimal_places=8, max_digits=28)),
                ("reason", models.CharField(max_length=300)),
                ("by", models.CharField(max_length=150)),
                ("time", models.DateTimeField()),
                (
                    "client",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.client",
                    ),
                ),
                (
                    "difference",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="execution.difference",
                    ),
                ),
            ],
            options={
                "db_table": "account_adjustments",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Reconciliation",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("broker", models.CharField(max_length=32)),
                (
                    "checked_at",
                    models.DateTimeField(blank=True, help_text="The last time that all could be compared.", null=True),
                ),
                (
                    "opened_at",
                    models.DateTimeField(blank=True, help_text="When its holdings were first seen.", null=True),
                ),
                ("fills_since", models.DateTimeField(help_text="Fills before this have been looked through.")),
                ("tried_at", models.DateTimeField()),
                (
                    "error",
                    models.CharField(
                        blank=True, default="", help_text="Why not all could be compared.", max_length=300
                    ),
                ),
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
                "db_table": "reconciliations",
                "ordering": ["client", "broker"],
            },
        ),
        migrations.AddIndex(
            model_name="difference",
            index=models.Index(fields=["client", "-id"], name="order_differences_by_client"),
        ),
        migrations.AddConstraint(
            model_name="difference",
            constraint=models.UniqueConstraint(
                condition=models.Q(("resolved_at__isnull", True)),
                fields=("client", "broker", "kind", "symbol", "subject"),
                name="order_differences_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="difference",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("resolution", ""), ("resolved_at__isnull", True), ("resolved_by", "")),
                    models.Q(
                        ("resolved_at__isnull", False),
                        models.Q(("resolved_by", ""), _negated=True),
                        models.Q(("resolution", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="order_differences_resolved_by_somebody",
            ),
        ),
        migrations.AddIndex(
            model_name="adjustment",
            index=models.Index(fields=["client", "broker", "asset"], name="account_adjustments_of"),
        ),
        migrations.AddConstraint(
            model_name="reconciliation",
            constraint=models.UniqueConstraint(fields=("client", "broker"), name="reconciliations_once"),
        ),
        migrations.RunSQL(FORWARDS, BACKWARDS),
        TenantTable("order_differences"),
        TenantTable("account_adjustments"),
        TenantTable("reconciliations"),
        SameTenant("account_adjustments", "difference_id", "order_differences"),
        AppendOnly("account_adjustments"),
    ]
