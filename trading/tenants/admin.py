"""Clients and users in the admin. Passwords are set, never shown; only superusers change who may sign in."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from trading.core.confirm import ConfirmedOperations, Operation
from trading.tenants import sessions
from trading.tenants.models import Client, Parameters, Role, User

admin.site.unregister(Group)  # rights follow from the role


@admin.register(Client)
class ClientAdmin(ModelAdmin):  # type: ignore[misc]  # untyped upstream
    """Clients; an inactive one keeps its rows, so none is deleted."""

    list_display = ["name", "shown_state", "created_at"]
    list_filter = ["is_active"]
    search_fields = ["name"]
    fields = ["name", "is_active", "id", "created_at"]
    readonly_fields = ["id", "created_at"]

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """A client's record outlives its business."""
        return False

    @display(description="State", label={"Active": "success", "Inactive": "default"})
    def shown_state(self, client: Client) -> str:
        """Active or not."""
        return "Active" if client.is_active else "Inactive"


@admin.register(Parameters)
class ParametersAdmin(ModelAdmin):  # type: ignore[misc]  # untyped upstream
    """What clients chose to trade by, version by version. They change it themselves, by their page or the API."""

    list_display = ["client", "version", "max_order_size", "max_daily_loss", "max_position_per_symbol",
                    "max_gross_exposure", "max_net_delta", "symbols", "changed_by", "created_at"]  # fmt: skip
    list_filter = ["client"]
    list_select_related = ["client"]
    list_fullwidth = True

    def has_add_permission(self, request: HttpRequest) -> bool:
        """A version comes of a change."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """A version stays as it was."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """The history is whole."""
        return False


def _check_place(form: Any) -> None:
    """A role and a client that fit each other; what the table demands, said beside the field."""
    role, client = form.cleaned_data.get("role"), form.cleaned_data.get("client")
    if role == Role.OPERATOR and client is not None:
        form.add_error("client", "An operator belongs to no client: leave this empty.")
    if role != Role.OPERATOR and client is None:
        form.add_error("client", "Choose the client that the user belongs to.")
    if role != Role.OPERATOR and form.cleaned_data.get("is_superuser"):
        form.add_error("is_superuser", "Only an operator can be a superuser.")


class ChangeForm(UserChangeForm):  # type: ignore[misc]  # untyped upstream
    """A user, with a role that fits the client."""

    def clean(self) -> dict[str, Any]:
        """Check role and client together."""
        super().clean()
        _check_place(self)
        return dict(self.cleaned_data)


class CreationForm(UserCreationForm):  # type: ignore[misc]  # untyped upstream
    """A new user, with a role that fits the client."""

    class Meta:
        model = User
        fields = ["username", "role", "client"]

    def clean(self) -> dict[str, Any]:
        """Check role and client together."""
        super().clean()
        _check_place(self)
        return dict(self.cleaned_data)


def _log_out_everywhere(user_id: int, operator: str) -> str:
    return f"logged out everywhere; {sessions.end_all(user_id, now=timezone.now())} logins by token have ended"


LOG_OUT = Operation(
    name="log_out_everywhere",
    title="Log out everywhere",
    question="Sessions of the pages and all tokens end at once. The user can log in again with the password.",
    perform=_log_out_everywhere,
    applies=lambda user: True,
    is_danger=True,
)


@admin.register(User)
class UserAdmin(ConfirmedOperations, DjangoUserAdmin, ModelAdmin):  # type: ignore[misc, type-arg]  # untyped upstream
    """Users. Entering the admin follows from the role, so `is_staff` is kept in step and not offered."""

    operations = (LOG_OUT,)
    change_form_template = "admin/jobs/jobrun_form.html"
    form = ChangeForm
    add_form = CreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["username", "shown_role", "client", "is_active", "is_superuser", "last_login"]
    list_filter = ["role", "is_active"]
    list_select_related = ["client"]
    search_fields = ["username", "email"]
    ordering = ["username"]
    autocomplete_fields = ["client"]
    filter_horizontal = ()
    readonly_fields = ["last_login", "date_joined"]
    fieldsets = [
        (None, {"fields": ["username", "password"]}),
        ("Person", {"fields": ["first_name", "last_name", "email", "external_id"]}),
        ("Place", {"fields": ["role", "client", "is_active", "is_superuser"]}),
        ("Record", {"fields": ["last_login", "date_joined"]}),
    ]
    add_fieldsets = [(None, {"classes": ["wide"], "fields": ["username", "role", "client", "password1", "password2"]})]

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Keep Django's own mark of staff in step with the role, for what looks at that alone."""
        obj.is_staff = obj.role == Role.OPERATOR
        super().save_model(request, obj, form, change)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """A user's page with the button."""
        user = self.get_object(request, object_id) if object_id else None
        buttons = self.buttons(user) if user is not None and self.has_operate_permission(request) else []
        return super().changeform_view(request, object_id, form_url, {**(extra_context or {}), "operations": buttons})

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """Set a password, in one transaction with its record."""
        with transaction.atomic():
            response: HttpResponse = super().user_change_password(request, id, form_url)
            return response

    @display(description="Role", label={"Operator": "primary", "Owner": "success", "Trader": "info"})
    def shown_role(self, user: User) -> str:
        """The role as a badge."""
        return user.get_role_display()
