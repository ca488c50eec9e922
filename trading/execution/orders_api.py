"""``/clients/{id}/orders``: what was intended and what became of it; cancelling and replacing an open one."""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from trading.audit.models import AuditEntry
from trading.core.errors import ApiError, NotFound, invalid
from trading.core.idempotency import HEADER, answered, once
from trading.core.ids import first_uuid7_at
from trading.core.pagination import page
from trading.core.schema import ErrorSerializer
from trading.execution import changes, replacing
from trading.execution.api import plain, trade
from trading.execution.models import Order
from trading.execution.serializers import (
    CancelOrderSerializer,
    OrderChangeSerializer,
    OrderDetailSerializer,
    OrderListSerializer,
    ReplaceOrderSerializer,
)
from trading.execution.states import OrderState
from trading.jobs.models import JobRun
from trading.jobs.services import enqueue
from trading.tenants.access import client_for
from trading.tenants.permissions import Permission
from trading.tenants.scope import ScopedView

KEY: Final = OpenApiParameter(HEADER, str, OpenApiParameter.HEADER, description="Sent again, it has no second effect.")
ERRORS: Final = {404: ErrorSerializer, 409: ErrorSerializer, 422: ErrorSerializer}
RECONCILE: Final = "order-reconcile"
SHOWN: Final = 200
SETTLED: Final = timedelta(days=1)
"""What happened to an order so long after its end is looked for, and no later."""


class OrdersView(ScopedView):
    """A client's orders."""

    needs = {"GET": Permission.SEE_ACCOUNT}

    @extend_schema(
        operation_id="clients_orders_list",
        parameters=[
            OpenApiParameter("state", str, enum=OrderState.values),
            OpenApiParameter("symbol", str),
            OpenApiParameter("limit", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}),
            OpenApiParameter("cursor", UUID, description="As the list before gave it in `next`."),
        ],
        responses={200: OrderListSerializer, 404: ErrorSerializer, 422: ErrorSerializer},
    )
    def get(self, request: Request, client_id: UUID) -> Response:
        """Orders, newest first."""
        rows = Order.objects.filter(client_id=client_for(request.user, client_id).id)
        wanted = {name: request.query_params[name] for name in ("state", "symbol") if name in request.query_params}
        if "state" in wanted and wanted["state"] not in OrderState.values:
            raise invalid(["query", "state"], f"must be one of: {', '.join(OrderState.values)}")
        found, following = page(request, rows.filter(**wanted), filters=("state", "symbol"))
        return Response({"results": _shown(found), "next": following})  # type: ignore[arg-type]


class OrderView(ScopedView):
    """One order."""

    needs = {"GET": Permission.SEE_ACCOUNT}

    @extend_schema(operation_id="clients_orders", responses={200: OrderDetailSerializer, 404: ErrorSerializer})
    def get(self, request: Request, client_id: UUID, order_id: UUID) -> Response:
        """An order, its executions, and what happened to it."""
        order = _order(request, client_id, order_id)
        fills = order.fills.select_related("order").order_by("id")[:SHOWN]
        return Response({**_shown([order])[0], "fills": [trade(fill) for fill in fills], "events": _events(order)})


class OrderCancelView(ScopedView):
    """Cancel."""

    needs = {"POST": Permission.DECIDE}

    @extend_schema(
        operation_id="clients_orders_cancel",
        request=CancelOrderSerializer,
        parameters=[KEY],
        responses={202: OrderChangeSerializer, **ERRORS},
    )
    def post(self, request: Request, client_id: UUID, order_id: UUID) -> Response:
        """Want what is left of it gone: what was not sent ends at once, what the venue may have is cancelled there."""
        CancelOrderSerializer(data=request.data).is_valid(raise_exception=True)
        by = request.user.get_username()

        def act() -> Response:
            order = _order(request, client_id, order_id)
            try:
                order = changes.request_cancel(order.id, by=by, now=timezone.now())
            except changes.NotCancelled as error:
                raise ApiError(409, "not_cancellable", f"Nothing to cancel: {error}.") from None
            run = enqueue(RECONCILE, client_id=order.client_id, triggered_by=by).run if order.is_live else None
            return Response(_change(order, run), status=202)

        return once(request, f"user:{request.user.pk}", act)


class OrderReplaceView(ScopedView):
    """Replace."""

    needs = {"POST": Permission.DECIDE}

    @extend_schema(
        operation_id="clients_orders_replace",
        request=ReplaceOrderSerializer,
        parameters=[KEY],
        responses={202: OrderChangeSerializer, **ERRORS},
    )
    def post(self, request: Request, client_id: UUID, order_id: UUID) -> Response:
        """Put another limit order in the place of what is left of one that is open, if risk lets it grow so far.

        409 `not_replaceable`: it is not open, its venue cannot, nothing is sent now, or it is being replaced already.
        """
        given = ReplaceOrderSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        scope = f"user:{request.user.pk}"
        before = answered(request, scope)
        if before is not None:
            return before
        order = _order(request, client_id, order_id)
        if replacing.is_replaceable(order) and not replacing.venue_replaces(order.client_id, order.broker):
            message = f"{order.broker} cannot replace an order: cancel it, then send another."
            raise ApiError(409, "not_replaceable", message)

        def act() -> Response:
            try:
                run = replacing.request(order, **given.validated_data, by=request.user.get_username())
            except replacing.NotReplaceable as error:
                raise ApiError(409, "not_replaceable", str(error)) from None
            return Response(_change(order, run), status=202)

        return once(request, scope, act)


def _order(request: Request, client_id: UUID, order_id: UUID) -> Order:
    client = client_for(request.user, client_id)
    order = Order.objects.filter(id=order_id, client_id=client.id).first()
    if order is None:
        raise NotFound("There is no such order.")
    return order


def _change(order: Order, run: JobRun | None) -> dict[str, Any]:
    return {"order": _shown([order])[0], "run_id": None if run is None else str(run.id)}


def _shown(orders: list[Order]) -> list[dict[str, Any]]:
    origins = {order.run_id for order in orders}
    runs = set(JobRun.objects.filter(id__in=origins).values_list("id", flat=True))
    replaced = set(Order.objects.filter(id__in=origins).values_list("id", flat=True))
    return [
        {
            "id": str(order.id),
            "client_order_id": order.client_order_id,
            "broker": order.broker,
            "broker_order_id": order.broker_order_id,
            "run_id": str(order.run_id) if order.run_id in runs else None,
            "replaces": str(order.run_id) if order.run_id in replaced else None,
            "symbol": order.symbol,
            "side": order.side,
            "quantity": plain(order.quantity),
            "order_type": order.order_type,
            "limit_price": plain(order.limit_price),
            "time_in_force": order.time_in_force,
            "state": order.state,
            "reason": order.reason,
            "filled_quantity": plain(order.filled_quantity),
            "average_price": plain(order.average_price),
            "fees": plain(order.fees),
            **{
                name: _time(getattr(order, name))
                for name in ("created_at", "sent_at", "cancel_requested_at", "expires_at", "finished_at")
            },
        }
        for order in orders
    ]


def _events(order: Order) -> list[dict[str, Any]]:
    """By the key of the audit log, which has the time: from the order's beginning to a while after its end."""
    rows = AuditEntry.objects.filter(
        client_id=order.client_id, subject=f"order:{order.id}", id__gte=first_uuid7_at(order.created_at)
    )
    if order.finished_at is not None:
        rows = rows.filter(id__lt=first_uuid7_at(order.finished_at + SETTLED))
    return [
        {"at": _time(entry.at), "action": entry.action, "actor": entry.actor, "details": entry.data}
        for entry in rows.order_by("id")[:SHOWN]
    ]


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")
