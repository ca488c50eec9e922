"""Logging in and out."""

from typing import Any

from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.core.exceptions import SuspiciousOperation, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from trading.core.errors import ApiError
from trading.core.scope import platform_scope
from trading.tenants.login import log_in
from trading.tenants.permissions import Permission, allows


class LoginForm(AuthenticationForm):
    """A name and a password, under the same lock-out as the API's login."""

    def clean(self) -> dict[str, Any]:
        """Log in, or say why not."""
        name, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if self.request is None or not name or not password:
            return self.cleaned_data
        try:
            self.user_cache = log_in(self.request, name, password)
        except ApiError as error:
            raise ValidationError(str(error), code=error.type) from None
        return self.cleaned_data


class Login(LoginView):
    """The one login page, for the pages and for the admin."""

    authentication_form = LoginForm
    template_name = "web/login.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Whether the page offers to open a client."""
        return super().get_context_data(**kwargs, may_onboard=allows(Permission.ONBOARD, None))

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """As Django does, but a ``next`` that leads elsewhere is refused: nobody but an attacker sends one."""
        wanted = request.POST.get(self.redirect_field_name) or request.GET.get(self.redirect_field_name)
        if wanted and not self.get_redirect_url():
            raise SuspiciousOperation("The login was to lead elsewhere.")
        with platform_scope():  # it is not known yet whose user this is
            return super().dispatch(request, *args, **kwargs)


class Logout(LogoutView):
    """By POST alone, as a link elsewhere must not log anybody out."""

    http_method_names = ["post"]

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """End the session."""
        response: HttpResponse = super().post(request, *args, **kwargs)
        return response
