"""Django's admin with the operators' site as its default."""

from django.contrib.admin.apps import AdminConfig


class OperatorAdminConfig(AdminConfig):
    """Register every model with `trading.web.admin_site.OperatorAdminSite`."""

    default_site = "trading.web.admin_site.OperatorAdminSite"
