"""The application's and the operators' logins may read and write rows, and nothing else."""

from django.db import migrations

from trading.core.rowsecurity import Rights


class Migration(migrations.Migration):
    dependencies = [("core", "0002_changed_settings")]
    operations = [Rights()]
