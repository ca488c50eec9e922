"""What operators may do in the admin. They run the platform; who may sign in is the business of superusers."""

from typing import Any

from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db.models import Model

from trading.tenants.models import Role, User

SUPERUSERS_ONLY = ("tenants", "auth")


class OperatorBackend(BaseBackend):
    """Permissions by role: an active operator has all but changes to users and clients, which they may see."""

    def has_perm(self, user_obj: AbstractBaseUser | AnonymousUser, perm: str, obj: Model | None = None) -> bool:
        """Whether the user has ``perm`` (``app.action_model``)."""
        if not isinstance(user_obj, User) or not user_obj.is_active or user_obj.role != Role.OPERATOR:
            return False
        app, _, action = perm.partition(".")
        return app not in SUPERUSERS_ONLY or action.startswith("view_")

    def has_module_perms(self, user_obj: Any, app_label: str) -> bool:
        """Whether the user may see an app in the admin's index."""
        return self.has_perm(user_obj, f"{app_label}.view_")
