"""The one row of the guard's switches, open."""

from django.db import migrations


def add_guard(apps, schema_editor):
    """Without it every order is refused."""
    apps.get_model("risk", "Guard").objects.get_or_create(id=1)


class Migration(migrations.Migration):
    dependencies = [("risk", "0001_initial")]
    operations = [migrations.RunPython(add_guard, migrations.RunPython.noop)]
