"""States of orders that rest, limits and times in force; what was filled beyond an order's quantity is kept."""

from django.db import migrations, models

FORWARDS = """
UPDATE orders SET state = 'expired' WHERE state = 'partially_filled';
"""
BACKWARDS = """
UPDATE orders SET state = CASE
    WHEN state IN ('open', 'partially_filled') THEN 'sent'
    WHEN filled_quantity > 0 THEN 'partially_filled'
    ELSE 'withdrawn' END
WHERE state IN ('open', 'partially_filled', 'cancelled', 'expired');
"""
UNFORCE, FORCE = ("ALTER TABLE orders NO FORCE ROW LEVEL SECURITY", "ALTER TABLE orders FORCE ROW LEVEL SECURITY")


class Migration(migrations.Migration):
    dependencies = [
        ("execution", "0003_fee_quantity"),
        ("tenants", "0007_platform_tables"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="fill",
            name="trades_not_empty",
        ),
        migrations.RemoveConstraint(
            model_name="order",
            name="orders_not_overfilled",
        ),
        migrations.RemoveConstraint(
            model_name="order",
            name="orders_finished_iff_closed",
        ),
        migrations.RemoveIndex(
            model_name="order",
            name="orders_open",
        ),
        migrations.AddField(
            model_name="order",
            name="cancel_requested_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="order",
            name="expires_at",
            field=models.DateTimeField(
                blank=True, help_text="What is open of it then is cancelled at the venue.", null=True
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="limit_price",
            field=models.DecimalField(blank=True, decimal_places=8, max_digits=28, null=True),
        ),
        migrations.AddField(
            model_name="order",
            name="order_type",
            field=models.CharField(
                choices=[("market", "market"), ("limit", "limit")], db_default="market", default="market", max_length=8
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="time_in_force",
            field=models.CharField(
                choices=[("ioc", "ioc"), ("gtc", "gtc")], db_default="ioc", default="ioc", max_length=8
            ),
        ),
        migrations.AlterField(
            model_name="order",
            name="state",
            field=models.CharField(
                choices=[
                    ("refused", "Refused by risk"),
                    ("intended", "Approved, not sent"),
                    ("sent", "Sent, not answered"),
                    ("unknown", "Unknown: the venue has not said"),
                    ("open", "Open at the venue"),
                    ("partially_filled", "Filled in part, open"),
                    ("filled", "Filled"),
                    ("cancelled", "Cancelled"),
                    ("expired", "Ended by its time in force"),
                    ("rejected", "Rejected by the venue"),
                    ("withdrawn", "Withdrawn: the venue never took it"),
                ],
                max_length=20,
            ),
        ),
        migrations.RunSQL(UNFORCE, FORCE),  # or the owner would see no rows
        migrations.RunSQL(FORWARDS, BACKWARDS),
        migrations.RunSQL(FORCE, UNFORCE),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(
                condition=models.Q(("state__in", ("intended", "sent", "unknown", "open", "partially_filled"))),
                fields=["client"],
                name="orders_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="fill",
            constraint=models.CheckConstraint(
                condition=models.Q(("quantity", 0), _negated=True), name="trades_not_empty"
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(("filled_quantity__gte", 0)), name="orders_filled_not_negative"
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "state__in",
                        [
                            "refused",
                            "intended",
                            "sent",
                            "unknown",
                            "open",
                            "partially_filled",
                            "filled",
                            "cancelled",
                            "expired",
                            "rejected",
                            "withdrawn",
                        ],
                    )
                ),
                name="orders_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("limit_price__isnull", False), ("order_type", "limit")),
                    models.Q(("limit_price__isnull", True), ("order_type", "market")),
                    _connector="OR",
                ),
                name="orders_limit_iff_priced",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("finished_at__isnull", True),
                        ("state__in", ("intended", "sent", "unknown", "open", "partially_filled")),
                    ),
                    models.Q(
                        models.Q(
                            ("state__in", ("intended", "sent", "unknown", "open", "partially_filled")), _negated=True
                        ),
                        ("finished_at__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="orders_finished_iff_ended",
            ),
        ),
    ]
