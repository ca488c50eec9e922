"""``/risk`` and ``/admin/emergency-halt``: what refuses orders now, and the switches of those who run the platform."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from trading.core.errors import ApiError
from trading.core.idempotency import HEADER, answered, once
from trading.core.schema import ErrorSerializer
from trading.core.serializers import StrictSerializer
from trading.operations import guard
from trading.risk import halts, switches
from trading.risk.models import Guard
from trading.tenants.permissions import Permission
from trading.tenants.scope import ScopedView

KEY = OpenApiParameter(HEADER, str, OpenApiParameter.HEADER, description="Sent again, it has no second effect.")
PATIENCE: Final = timedelta(seconds=12)
"""How long an answer waits for orders that are being sent: a little longer than a venue is waited for."""
Shape = serializers.Serializer[dict[str, object]]


class KillSwitchSerializer(StrictSerializer):
    """The operators' override: true, false, or null for what the environment says."""

    enabled = serializers.BooleanField(allow_null=True)


class ResetSerializer(StrictSerializer):
    """Nothing: the body may be left out or be empty."""


class HaltSerializer(StrictSerializer):
    """Halt everything, or lift the halt."""

    enabled = serializers.BooleanField()
    reason = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)


class GuardSerializer(Shape):
    """The guard: switches, limits, what has been traded lately, overrides, and the prices that pass for sane."""

    kill_switch = serializers.BooleanField(help_text="Whether it refuses every order now.")
    emergency_halt = serializers.BooleanField()
    autonomous_enabled = serializers.BooleanField()
    reason = serializers.CharField(help_text="Of the last change of a switch.")
    changed_by = serializers.CharField()
    changed_at = serializers.DateTimeField()
    gross_exposure = serializers.CharField(help_text="Of all clients, as their last snapshots show it.")
    limits = serializers.DictField(help_text="By setting; null: no limit.")
    trades = serializers.DictField(help_text="Since midnight (UTC) and in 24 hours, from the last reset on.")
    overrides = serializers.DictField(help_text="What operators have changed, and whose circuit breakers are open.")
    price_bounds = serializers.DictField(help_text="By symbol: the last close and how far from it a price may be.")


class HaltedOrderSerializer(Shape):
    """An order that may still be open."""

    client_id = serializers.UUIDField()
    client = serializers.CharField()
    broker = serializers.CharField()
    order = serializers.CharField()
    symbol = serializers.CharField()
    outcome = serializers.CharField()
    why = serializers.CharField()


class CancelsSerializer(Shape):
    """The open orders that a halt found."""

    run_id = serializers.UUIDField(allow_null=True)
    state = serializers.CharField(help_text="Of the run that cancels them.")
    confirmed = serializers.IntegerField(help_text="Cancelled, as their venues say.")
    over = serializers.IntegerField(help_text="Over before they could be cancelled.")
    not_confirmed = serializers.IntegerField()
    left_alone = serializers.IntegerField(help_text="Not sent by this platform.")
    open = HaltedOrderSerializer(many=True)


class HaltShownSerializer(Shape):
    """The halt that holds, or the last one."""

    enabled = serializers.BooleanField()
    reason = serializers.CharField()
    by = serializers.CharField()
    since = serializers.DateTimeField(allow_null=True)
    settled_at = serializers.DateTimeField(allow_null=True, help_text="No order was sent after it.")
    lifted_at = serializers.DateTimeField(allow_null=True)
    lifted_by = serializers.CharField()
    cancels = CancelsSerializer(allow_null=True)


class RiskView(ScopedView):
    """The guard."""

    needs = {"GET": Permission.SEE_RISK}

    @extend_schema(operation_id="risk", responses={200: GuardSerializer, 503: ErrorSerializer})
    def get(self, request: Request) -> Response:
        """Switches, limits, trades, overrides and price bounds."""
        return Response(_readable(guard.described))


class KillSwitchView(ScopedView):
    """The kill switch."""

    needs = {"POST": Permission.CHANGE_RISK}

    @extend_schema(
        operation_id="risk_kill_switch",
        request=KillSwitchSerializer,
        parameters=[KEY],
        responses={200: GuardSerializer, 503: ErrorSerializer},
    )
    def post(self, request: Request) -> Response:
        """Turn it, or give it back to the environment. Answered once no order that was under way leaves any more."""
        wanted = _checked(KillSwitchSerializer, request)["enabled"]
        by = request.user.username
        return _switched(
            request, lambda: switches.set_switches(kill_switch=wanted, by=by, patience=PATIENCE), guard.described
        )


class ResetView(ScopedView):
    """What has been counted."""

    needs = {"POST": Permission.CHANGE_RISK}

    @extend_schema(
        operation_id="risk_reset",
        request=ResetSerializer,
        parameters=[KEY],
        responses={200: GuardSerializer, 422: ErrorSerializer, 503: ErrorSerializer},
    )
    def post(self, request: Request) -> Response:
        """Count trades from now on, close the circuit breakers, and give the kill switch back to the environment."""
        _checked(ResetSerializer, request)
        by = request.user.username
        return _switched(request, lambda: switches.reset(by=by, patience=PATIENCE), guard.described)


class EmergencyHaltView(ScopedView):
    """The emergency halt."""

    needs = {"GET": Permission.SEE_HALT, "POST": Permission.HALT}

    @extend_schema(operation_id="emergency_halt", responses={200: HaltShownSerializer, 503: ErrorSerializer})
    def get(self, request: Request) -> Response:
        """Whether it holds, since when and why, and which open orders are surely cancelled."""
        return Response(_readable(halts.described))

    @extend_schema(
        operation_id="emergency_halt_change",
        request=HaltSerializer,
        parameters=[KEY],
        responses={200: HaltShownSerializer, 503: ErrorSerializer},
    )
    def post(self, request: Request) -> Response:
        """Halt everything, approvals included, or lift that. After a 200 to a halt no order is sent any more.

        503 `still_sending`: the halt holds, but an order that was being sent is not answered yet; ask again.
        """
        wanted = _checked(HaltSerializer, request)
        enabled, reason, by = wanted["enabled"], wanted["reason"], request.user.username
        return _switched(
            request,
            lambda: switches.set_switches(halted=enabled, reason=reason, by=by, patience=PATIENCE),
            halts.described,
        )


def _readable(described: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return described()
    except Guard.DoesNotExist:
        message = "The guard has no row, and while it has none every order is refused. Turn a switch, or run migrate."
        raise ApiError(503, "state_unreadable", message) from None


def _checked(serializer: type[StrictSerializer], request: Request) -> Any:
    given = serializer(data=request.data)
    given.is_valid(raise_exception=True)
    return given.validated_data


def _switched(request: Request, switch: Callable[[], object], described: Callable[[], dict[str, Any]]) -> Response:
    """Turn a switch, which commits by itself, and keep the answer for the request's key."""
    scope = f"user:{request.user.pk}"
    before = answered(request, scope)
    if before is not None:
        return before
    try:
        switch()
    except switches.StillSending as error:
        raise ApiError(503, "still_sending", str(error), headers={"Retry-After": "1"}, retryable=True) from None
    return once(request, scope, lambda: Response(described()))
