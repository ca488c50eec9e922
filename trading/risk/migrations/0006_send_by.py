from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("risk", "0005_halts"),
    ]

    operations = [
        migrations.AddField(
            model_name="reservation",
            name="send_by",
            field=models.DateTimeField(
                help_text="Until then its sender may begin to send it; empty before that, and once it is answered.",
                null=True,
            ),
        ),
    ]
