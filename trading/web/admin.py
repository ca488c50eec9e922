"""The schedule in the admin: django-celery-beat's models in the style of the rest, those without use left out."""

import json
from typing import Any

import pydantic
from django import forms
from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget

from trading.audit.services import record
from trading.core.confirm import ConfirmedOperations, Operation
from trading.jobs.registry import UnknownJob, registry

for model in (PeriodicTask, IntervalSchedule, CrontabSchedule, SolarSchedule, ClockedSchedule):
    admin.site.unregister(model)


def _switch(entry_id: int, *, on: bool) -> str:
    with transaction.atomic():
        entry = PeriodicTask.objects.get(pk=entry_id)
        entry.enabled = on
        entry.save()  # not an update: beat learns of a change by the signal
        record(f"schedule.{'enabled' if on else 'disabled'}", subject=f"schedule:{entry.name}")
    return "enabled" if on else "disabled"


def _enable(entry_id: int, by: str) -> str:
    return _switch(entry_id, on=True)


def _disable(entry_id: int, by: str) -> str:
    return _switch(entry_id, on=False)


class EntryForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """An entry of the schedule: a job that exists, with arguments that it takes."""

    task = forms.ChoiceField(label="Job", widget=UnfoldAdminSelectWidget)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "task" in self.fields:
            slugs = sorted({*registry.slugs(), *([self.instance.task] if self.instance.task else [])})
            self.fields["task"].choices = [(slug, slug) for slug in slugs]  # type: ignore[attr-defined]  # a ChoiceField

    def clean(self) -> dict[str, Any]:
        """Check the arguments against the job's declaration."""
        data = super().clean() or {}
        try:
            job = registry.get(data.get("task", ""))
            job.arguments.model_validate(json.loads(data.get("kwargs") or "{}"))
        except UnknownJob as error:
            self.add_error("task", str(error))
        except pydantic.ValidationError as error:
            for item in error.errors(include_url=False):
                self.add_error("kwargs", f"{'.'.join(map(str, item['loc']))}: {item['msg']}")
        except ValueError as error:
            self.add_error("kwargs", f"This is not JSON: {error}")
        return data


@admin.register(PeriodicTask)
class EntryAdmin(ConfirmedOperations, ModelAdmin):  # type: ignore[misc]  # untyped upstream
    """When beat enqueues which job. Queue and limits are the job's own, so they are not asked here."""

    form = EntryForm
    operations = (
        Operation("enable", "Enable", "Enqueue these when their time comes?", _enable, lambda entry: not entry.enabled),
        Operation(
            "disable", "Disable", "Stop enqueuing these?", _disable, lambda entry: bool(entry.enabled), is_danger=True
        ),
    )
    list_display = ["name", "shown_state", "task", "interval", "crontab", "last_run_at", "description"]
    list_filter = ["enabled"]
    list_select_related = ["interval", "crontab"]
    search_fields = ["name", "task"]
    readonly_fields = ["last_run_at", "description"]
    fieldsets = [
        (None, {"fields": ["name", "task", "enabled", "description"]}),
        ("When", {"fields": ["interval", "crontab", "start_time", "last_run_at", "one_off"]}),
        ("Arguments", {"fields": ["kwargs"]}),
    ]

    @display(description="State", label={"On": "success", "Off": "default"})
    def shown_state(self, entry: PeriodicTask) -> str:
        """On or off."""
        return "On" if entry.enabled else "Off"


class _Unlisted(ModelAdmin):  # type: ignore[misc]  # untyped upstream
    """Reached from an entry's form, not from the index."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Keep out of the index."""
        return False


@admin.register(IntervalSchedule)
class IntervalAdmin(_Unlisted):
    """Intervals that entries name."""

    list_display = ["__str__", "every", "period"]


@admin.register(CrontabSchedule)
class CrontabAdmin(_Unlisted):
    """Cron lines that entries name."""

    list_display = ["__str__", "human_readable"]
