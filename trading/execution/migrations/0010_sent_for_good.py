"""An order of which its adapter has said that it sends it no more, so that it is only asked for."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("execution", "0009_not_booked")]

    operations = [
        migrations.AddField(
            model_name="order",
            name="is_sent_for_good",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Its adapter has sent it, or may have, and sends it no more.",
            ),
        ),
    ]
