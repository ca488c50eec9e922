"""Sessions of pages, and what operators did in the admin, are the platform's alone."""

from django.db import migrations

from trading.core.rowsecurity import PlatformTable


class Migration(migrations.Migration):
    dependencies = [
        ("core", "0003_rights"),
        ("tenants", "0006_row_security"),
        ("sessions", "0001_initial"),
        ("admin", "0003_logentry_add_action_flag_choices"),
    ]
    operations = [
        PlatformTable("django_session"),
        PlatformTable("django_admin_log"),
        PlatformTable("tenants_user_groups"),
        PlatformTable("tenants_user_user_permissions"),
    ]
