"""``/clients/{id}/audit``: a client's own log."""

from datetime import datetime
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from trading.audit import selectors
from trading.audit.models import AuditEntry
from trading.audit.serializers import AuditListSerializer
from trading.core.errors import invalid
from trading.core.pagination import moment, page
from trading.core.schema import ErrorSerializer
from trading.tenants.access import client_for
from trading.tenants.permissions import Permission
from trading.tenants.scope import ScopedView

FILTERS = ("action", "since", "until")


class ClientAuditView(ScopedView):
    """What was recorded of a client, newest first."""

    needs = {"GET": Permission.SEE_AUDIT}

    @extend_schema(
        operation_id="clients_audit_list",
        parameters=[
            OpenApiParameter("action", str, description="Only entries of this action, such as `risk.refused`."),
            OpenApiParameter("since", datetime, description="Only entries at or after this time."),
            OpenApiParameter("until", datetime, description="Only entries before this time."),
            OpenApiParameter("limit", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}),
            OpenApiParameter("cursor", UUID, description="As the list before gave it in `next`."),
        ],
        responses={200: AuditListSerializer, 404: ErrorSerializer, 422: ErrorSerializer},
    )
    def get(self, request: Request, client_id: UUID) -> Response:
        """One page of its log. The hashes chain each entry to the one before, so that the reader can check them."""
        client = client_for(request.user, client_id)
        action = request.query_params.get("action")
        if action is not None and (len(action) > 64 or not action.isascii() or not action.isprintable()):
            raise invalid(["query", "action"], "not an action such as `order.sent`")
        rows = selectors.listed(
            AuditEntry.objects.filter(client_id=client.pk),
            action=action,
            since=moment(request, "since"),
            until=moment(request, "until"),
        )
        found, following = page(request, rows, filters=FILTERS)
        return Response({"results": [selectors.shown(entry) for entry in found], "next": following})  # type: ignore[arg-type]
