"""Names of users and clients are one's own in any capitals: Ann cannot be taken for ann.

Where two differ in nothing else already, this fails and names them: rename one, then migrate again.
"""

from django.db import migrations, models
from django.db.models.functions import Lower


class Migration(migrations.Migration):
    dependencies = [("tenants", "0007_platform_tables")]
    operations = [
        migrations.AddConstraint(
            model_name="client",
            constraint=models.UniqueConstraint(
                Lower("name"),
                name="tenants_client_name_in_any_case",
                violation_error_message="A client of this name exists, be it in other capitals.",
            ),
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.UniqueConstraint(
                Lower("username"),
                name="tenants_user_username_in_any_case",
                violation_error_message="A user of this name exists, be it in other capitals.",
            ),
        ),
    ]
