"""A client sees itself, its own users and parameters; how users log in is the platform's business."""

from django.db import migrations

from trading.core.rowsecurity import PlatformTable, TenantTable


class Migration(migrations.Migration):
    dependencies = [("core", "0003_rights"), ("tenants", "0005_known_addresses")]
    operations = [
        TenantTable("tenants_client", column="id"),
        TenantTable("tenants_user"),
        TenantTable("client_parameters"),
        PlatformTable("login_failures"),
        PlatformTable("known_addresses"),
        PlatformTable("login_sessions"),
        PlatformTable("refresh_tokens"),
    ]
