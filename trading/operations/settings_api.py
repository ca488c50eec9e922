"""``/settings``: what holds, and the change of what may change."""

from decimal import Decimal
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from trading.core.dials import DIALS, Dial, NotAllowed
from trading.core.errors import invalid
from trading.core.idempotency import HEADER, once
from trading.core.serializers import StrictSerializer
from trading.operations import platform
from trading.tenants.permissions import Permission
from trading.tenants.scope import ScopedView

KEY = OpenApiParameter(HEADER, str, OpenApiParameter.HEADER, description="Sent again, it has no second effect.")
_MOST_DIGITS = 20


def _field(dial: Dial) -> serializers.Field[Any, Any, Any, Any]:
    options: dict[str, Any] = {"required": False, "allow_null": True, "help_text": dial.meaning}
    if dial.kind is bool:
        return serializers.BooleanField(**options)
    if dial.kind is int:
        return serializers.IntegerField(min_value=int(dial.lowest), max_value=int(dial.highest), **options)
    return serializers.DecimalField(
        max_digits=_MOST_DIGITS,
        decimal_places=dial.places,
        min_value=Decimal(dial.lowest),
        max_value=Decimal(dial.highest),
        **options,
    )


class SettingsChangeSerializer(StrictSerializer):
    """New values by name; null: the environment's again."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """One for each setting that may change."""
        return {name: _field(dial) for name, dial in DIALS.items()}


class MutableSettingSerializer(serializers.Serializer[dict[str, object]]):
    """A setting that may change."""

    type = serializers.ChoiceField(choices=["decimal", "integer", "boolean"])
    meaning = serializers.CharField()
    minimum = serializers.CharField(allow_null=True)
    maximum = serializers.CharField(allow_null=True)
    environment = serializers.JSONField(help_text="What holds without a change.")
    changed_by = serializers.CharField(allow_null=True)
    changed_at = serializers.DateTimeField(allow_null=True)


class SettingsSerializer(serializers.Serializer[dict[str, object]]):
    """All that hold and are no secret, and those that may change."""

    settings = serializers.DictField()
    mutable = serializers.DictField(child=MutableSettingSerializer())


class SettingsView(ScopedView):
    """The platform's settings."""

    needs = {"GET": Permission.SEE_SETTINGS, "POST": Permission.CHANGE_SETTINGS}

    @extend_schema(operation_id="settings", responses={200: SettingsSerializer})
    def get(self, request: Request) -> Response:
        """The values in force; no secret is among them."""
        return Response(platform.described())

    @extend_schema(
        operation_id="settings_change",
        request=SettingsChangeSerializer,
        parameters=[KEY],
        responses={200: SettingsSerializer},
    )
    def post(self, request: Request) -> Response:
        """Change what is named, for every process at once and without a restart; each change is audited."""
        given = SettingsChangeSerializer(data=request.data)
        given.is_valid(raise_exception=True)

        def act() -> Response:
            try:
                platform.change(given.validated_data, by=request.user.username)
            except NotAllowed as error:
                raise invalid(["body", error.name], str(error)) from None
            return Response(platform.described())

        return once(request, f"user:{request.user.pk}", act)
