"""Orders that were sent and that the venue never had: a state of their own, and when the venue was first found without."""

from django.db import migrations, models

BACKWARDS = "UPDATE orders SET state = 'withdrawn' WHERE state = 'not_booked'"
UNFORCE, FORCE = ("ALTER TABLE orders NO FORCE ROW LEVEL SECURITY", "ALTER TABLE orders FORCE ROW LEVEL SECURITY")


class Migration(migrations.Migration):
    dependencies = [
        ("execution", "0008_trades_listed"),
        ("tenants", "0009_governor_parameters"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="order",
            name="orders_state_known",
        ),
        migrations.AddField(
            model_name="order",
            name="missed_at",
            field=models.DateTimeField(
                blank=True,
                help_text="When the venue was first asked for it past its booking horizon, and had none.",
                null=True,
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
                    ("withdrawn", "Withdrawn: it was not sent"),
                    ("not_booked", "Not booked: it was sent, and the venue has none"),
                ],
                max_length=20,
            ),
        ),
        migrations.RunSQL(migrations.RunSQL.noop, FORCE),
        migrations.RunSQL(migrations.RunSQL.noop, BACKWARDS),
        migrations.RunSQL(migrations.RunSQL.noop, UNFORCE),  # or the owner would see no rows
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
                            "not_booked",
                        ],
                    )
                ),
                name="orders_state_known",
            ),
        ),
    ]
