"""A client sees its own runs and their attempts."""

from django.db import migrations

from trading.core.rowsecurity import PlatformTable, TenantTable


class Migration(migrations.Migration):
    dependencies = [("core", "0003_rights"), ("jobs", "0003_tasksignature")]
    operations = [
        TenantTable("job_runs"),
        TenantTable("job_attempts", belongs="EXISTS (SELECT FROM job_runs r WHERE r.id = run_id)"),
        PlatformTable("task_signatures"),
    ]
