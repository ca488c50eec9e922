"""Settings that were changed while the platform runs, in the admin: each change by the one service, so audited."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from trading.core import dials
from trading.core.models import ChangedSetting
from trading.operations import platform


class ChangedSettingForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """A setting that may change, and its value as `.env` would have it."""

    name = forms.ChoiceField(
        choices=[(name, f"{name}: {dial.meaning}") for name, dial in dials.DIALS.items()],
        widget=UnfoldAdminSelectWidget,
    )
    value = forms.CharField(max_length=64, widget=UnfoldAdminTextInputWidget)

    class Meta:
        model = ChangedSetting
        fields = ["name", "value"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.fields["name"].disabled = True

    def clean(self) -> dict[str, Any]:
        """A value that the setting takes."""
        data = super().clean() or self.cleaned_data
        name, text = data.get("name", ""), str(data.get("value", ""))
        if name in dials.DIALS and text:
            if dials.DIALS[name].kind is bool:
                data["value"] = {"true": True, "false": False}.get(text.lower(), text)
            try:
                dials.read(name, data["value"])
            except dials.NotAllowed as error:
                self.add_error("value", f"This {error}.")
        return data


@admin.register(ChangedSetting)
class ChangedSettingAdmin(ModelAdmin):  # type: ignore[misc]  # untyped upstream
    """What is not as the environment says. Deleting a row gives the setting back to the environment."""

    form = ChangedSettingForm
    list_display = ["name", "value", "shown_environment", "changed_by", "changed_at"]

    def save_model(self, request: HttpRequest, obj: ChangedSetting, form: Any, change: bool) -> None:
        """Change the setting, and record it."""
        platform.change({form.cleaned_data["name"]: form.cleaned_data["value"]}, by=request.user.get_username())

    def delete_model(self, request: HttpRequest, obj: ChangedSetting) -> None:
        """Give the setting back to the environment."""
        platform.change({obj.name: None}, by=request.user.get_username())

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ChangedSetting]) -> None:
        """Give all of them back."""
        platform.change(dict.fromkeys(queryset.values_list("name", flat=True)), by=request.user.get_username())

    @admin.display(description="Environment's")
    def shown_environment(self, row: ChangedSetting) -> str:
        """What holds once the row is gone."""
        return str(platform.plain(dials.of_environment(row.name))) if row.name in dials.DIALS else "no such setting"
