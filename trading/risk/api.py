"""``/clients/{id}/agent/parameters``: a client's own limits and strategy, within the platform's."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from trading.core.errors import Invalid
from trading.core.idempotency import HEADER, once
from trading.core.schema import ErrorSerializer
from trading.risk.parameters import change, described
from trading.tenants.access import client_for
from trading.tenants.parameters import RISK_NAMES, NotWithinLimits
from trading.tenants.permissions import Permission
from trading.tenants.scope import ScopedView
from trading.tenants.serializers import ParametersChangeSerializer, ParametersSerializer

KEY = OpenApiParameter(HEADER, str, OpenApiParameter.HEADER, description="Sent again, it has no second effect.")


class ParametersView(ScopedView):
    """A client's risk and strategy parameters."""

    needs = {"GET": Permission.SEE_ACCOUNT, "POST": Permission.CONFIGURE_AGENT}

    @extend_schema(operation_id="clients_agent_parameters", responses={200: ParametersSerializer, 404: ErrorSerializer})
    def get(self, request: Request, client_id: UUID) -> Response:
        """The client's own, what holds, and the platform's."""
        return Response(described(client_for(request.user, client_id).id))

    @extend_schema(
        operation_id="clients_agent_parameters_change",
        request=ParametersChangeSerializer,
        parameters=[KEY],
        responses={200: ParametersSerializer, 404: ErrorSerializer},
    )
    def post(self, request: Request, client_id: UUID) -> Response:
        """Change what is named. A value may be stricter than the platform's, not looser; null takes the platform's."""
        client = client_for(request.user, client_id)
        given = ParametersChangeSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        wanted: dict[str, Any] = {**given.validated_data.get("risk", {}), **given.validated_data.get("strategy", {})}

        def act() -> Response:
            change(client.id, wanted, by=request.user.username)
            return Response(described(client.id))

        try:
            return once(request, f"user:{request.user.pk}", act)
        except NotWithinLimits as error:
            raise Invalid(
                [
                    {"loc": ["body", "risk" if name in RISK_NAMES else "strategy", name], "message": message}
                    for name, message in error.problems
                ]
            ) from None
