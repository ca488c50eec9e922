"""``/clients/{id}/positions`` and ``/trades``."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from trading.brokers.base import Side
from trading.core.pagination import page
from trading.core.schema import ErrorSerializer
from trading.execution import selectors
from trading.execution.models import Fill
from trading.execution.serializers import PositionListSerializer, TradeListSerializer
from trading.tenants.access import client_for
from trading.tenants.permissions import Permission
from trading.tenants.scope import ScopedView


class PositionsView(ScopedView):
    """What a client holds."""

    needs = {"GET": Permission.SEE_ACCOUNT}

    @extend_schema(
        operation_id="clients_positions",
        responses={200: PositionListSerializer, 404: ErrorSerializer},
    )
    def get(self, request: Request, client_id: UUID) -> Response:
        """Every position, at the newest closes."""
        client = client_for(request.user, client_id)
        return Response({"results": [_position(one) for one in selectors.marked(client.id)], "next": None})


class TradesView(ScopedView):
    """What a client has traded."""

    needs = {"GET": Permission.SEE_ACCOUNT}

    @extend_schema(
        operation_id="clients_trades_list",
        parameters=[
            OpenApiParameter("limit", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}),
            OpenApiParameter("cursor", UUID, description="As the list before gave it in `next`."),
        ],
        responses={200: TradeListSerializer, 404: ErrorSerializer, 422: ErrorSerializer},
    )
    def get(self, request: Request, client_id: UUID) -> Response:
        """Executions, newest first."""
        client = client_for(request.user, client_id)
        rows = Fill.objects.filter(client_id=client.id).select_related("order")
        found, following = page(request, rows, filters=())
        return Response({"results": [trade(fill) for fill in found], "next": following})  # type: ignore[arg-type]


def _position(one: selectors.Marked) -> dict[str, Any]:
    row = one.position
    # Of a unit that is no derivative, delta is 1 and nothing else moves with time, volatility or rates.
    greeks = {"delta": plain(row.quantity), "gamma": "0", "vega": "0", "theta": "0", "rho": "0"}
    return {
        "symbol": row.symbol,
        "quantity": plain(row.quantity),
        "average_cost": plain(row.average_cost),
        "price": plain(one.price),
        "value": _money(one.value),
        "unrealised_pnl": _money(one.unrealised_pnl),
        "realised_pnl": _money(row.realised_pnl),
        "greeks": None if one.price is None else greeks,
        "updated_at": row.updated_at,
    }


def trade(fill: Fill) -> dict[str, Any]:
    """An execution as `TradeSerializer` describes it."""
    return {
        "id": str(fill.id),
        "order_id": str(fill.order_id),
        "client_order_id": fill.order.client_order_id,
        "broker": fill.broker,
        "execution_id": fill.execution_id,
        "symbol": fill.symbol,
        "side": Side.BUY if fill.quantity > 0 else Side.SELL,
        "quantity": plain(abs(fill.quantity)),
        "price": plain(fill.price),
        "fee": plain(fill.fee),
        "realised_pnl": plain(fill.realised_pnl),
        "time": fill.time,
    }


def plain(value: Decimal | None) -> str | None:
    """A number without its trailing zeros."""
    return None if value is None else f"{value.normalize():f}"


def _money(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:.2f}"
