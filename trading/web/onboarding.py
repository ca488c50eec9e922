"""Opening a client of one's own, where the platform lets everybody do so."""

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from trading.brokers import onboarding
from trading.core.scope import platform_scope
from trading.tenants.permissions import Permission, allows, needs
from trading.tenants.throttling import check


class OnboardingForm(forms.Form):
    """A name for the client, and who owns it."""

    name = forms.CharField(max_length=120, strip=True)
    username = forms.CharField(max_length=150)
    password = forms.CharField(max_length=256, strip=False)
    again = forms.CharField(max_length=256, strip=False)

    def clean(self) -> dict[str, str]:
        """The two passwords are one."""
        data = super().clean() or self.cleaned_data
        if "password" in data and "again" in data and data["password"] != data["again"]:
            self.add_error("again", "The two passwords differ.")
        return data


@needs(GET=Permission.OPEN, POST=Permission.ONBOARD)
@sensitive_post_parameters("password", "again")
@never_cache
def show(request: HttpRequest) -> HttpResponse:
    """The form; where onboarding takes the admin key, there is no such page."""
    if not allows(Permission.ONBOARD, None) or request.method not in ("GET", "HEAD", "POST"):
        raise Http404("Onboarding is for those who run the platform: POST /clients/onboard.")
    check(request, request.user)
    form = OnboardingForm(request.POST if request.method == "POST" else None)
    if form.is_valid() and _opened(form):
        messages.success(request, f"{form.cleaned_data['name']} is open. Log in to connect a broker.")
        return HttpResponseRedirect(f"{reverse('web:login')}?next={reverse('web:brokers')}")
    return render(request, "web/onboarding.html", {"form": form}, status=422 if form.is_bound else 200)


@platform_scope()  # the client is nobody yet
def _opened(form: OnboardingForm) -> bool:
    application = onboarding.Application(
        name=form.cleaned_data["name"], username=form.cleaned_data["username"], password=form.cleaned_data["password"]
    )
    try:
        client_id = onboarding.prepare(application)
        onboarding.onboard(client_id, application, now=timezone.now())
    except onboarding.Refused as error:
        for name, message in error.problems:
            form.add_error(name, message)
        return False
    return True
