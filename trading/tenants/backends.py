"""What operators may do in the admin. They run the platform; who may sign in is the business of superusers."""

from typing import Any

from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db.models import Model

from trading.core.scope import platform_scope
from trading.tenants.models import Role, User

SUPERUSERS_ONLY = ("tenants", "auth")


class PasswordBackend(ModelBackend):
    """Django's own, for those who may log in: a session ends when its user or the user's client is deactivated."""

    def get_user(self, user_id: int) -> User | None:
        """The user of a session, looked up before it is known whose they are."""
        with platform_scope():
            user = User.objects.select_related("client").filter(pk=user_id).first()
        return user if self.user_can_authenticate(user) else None

    def user_can_authenticate(self, user: User | AnonymousUser | None) -> bool:
        """Asked at login and for each request of a session."""
        return isinstance(user, User) and user.may_log_in

    def has_perm(self, user_obj: AbstractBaseUser | AnonymousUser, perm: str, obj: Model | None = None) -> bool:
        """Permissions come from the role alone."""
        return False


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
