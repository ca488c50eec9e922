"""The three queues, by urgency."""

from django.db import migrations


def add_queues(apps, schema_editor):
    """One row each; their settings are the operators' from here on."""
    queue = apps.get_model("jobs", "JobQueue")
    for name in ("critical", "default", "bulk"):
        queue.objects.get_or_create(name=name)


class Migration(migrations.Migration):
    dependencies = [("jobs", "0001_initial")]
    operations = [migrations.RunPython(add_queues, migrations.RunPython.noop)]
