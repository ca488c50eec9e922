"""``/presets``: named configurations to start from."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from trading.backtests import selectors, services
from trading.backtests.api import ERRORS, LIST_ERRORS, body_of, client_of, configuration
from trading.backtests.config import Part, RunConfig
from trading.backtests.models import Preset
from trading.backtests.serializers import PresetListSerializer, PresetSerializer
from trading.core.errors import NotFound, invalid
from trading.core.idempotency import once
from trading.core.pagination import page
from trading.core.schema import ErrorSerializer
from trading.jobs.access import Caller
from trading.jobs.api import KEY, caller
from trading.tenants.permissions import Permission
from trading.tenants.scope import ScopedView

LONGEST_NAME = 120


class PresetRequest(Part):
    """A name and a configuration."""

    name: str
    config: RunConfig


class PresetsView(ScopedView):
    """Presets."""

    needs = {"GET": Permission.SEE_ACCOUNT, "POST": Permission.RESEARCH}

    @extend_schema(
        operation_id="presets_list",
        parameters=[
            OpenApiParameter("limit", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}),
            OpenApiParameter("cursor", OpenApiTypes.UUID, description="As the list before gave it in `next`."),
        ],
        responses={200: PresetListSerializer, **LIST_ERRORS},
    )
    def get(self, request: Request) -> Response:
        """Presets, newest first."""
        found, following = page(request, selectors.visible_presets(caller(request)), filters=())
        return Response({"results": [_shown(preset) for preset in found], "next": following})

    @extend_schema(
        operation_id="presets_create",
        request=PresetRequest,
        parameters=[KEY],
        responses={200: PresetSerializer, 201: PresetSerializer, **LIST_ERRORS, 413: ErrorSerializer},
    )
    def post(self, request: Request) -> Response:
        """Keep one: 201 when it is new, 200 when the same name and configuration are there already."""
        client_id = client_of(request)
        body = body_of(request)
        name = _name(body)
        config = configuration(body["config"], loc=("body", "config"))

        def act() -> Response:
            kept = services.keep_preset(name, config, client_id=client_id)
            return Response(_shown(kept.preset), status=201 if kept.created else 200)

        return once(request, f"user:{request.user.pk}", act)


class PresetView(ScopedView):
    """One preset."""

    needs = {"GET": Permission.SEE_ACCOUNT, "DELETE": Permission.RESEARCH}

    @extend_schema(operation_id="presets_retrieve", responses={200: PresetSerializer, **ERRORS})
    def get(self, request: Request, preset_id: str) -> Response:
        """Its name and configuration."""
        return Response(_shown(_preset(caller(request), preset_id)))

    @extend_schema(operation_id="presets_destroy", responses={204: None, **ERRORS})
    def delete(self, request: Request, preset_id: str) -> Response:
        """Delete it. Runs that were started from it stay."""
        client_of(request)
        _preset(caller(request), preset_id).delete()
        return Response(status=204)


def _preset(who: Caller, preset_id: str) -> Preset:
    known = preset_id.isascii() and preset_id.isalnum()
    found = selectors.visible_presets(who).filter(preset_id=preset_id).first() if known else None
    if found is None:
        raise NotFound("There is no such preset.")
    return found


def _name(body: dict[str, Any]) -> str:
    for field in body:
        if field not in ("name", "config"):
            raise invalid(["body", field], "not known here; there are: name, config")
    name = body.get("name")
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise invalid(["body", "name"], f"must be 1 to {LONGEST_NAME} printable characters")
    if not isinstance(body.get("config"), dict):
        raise invalid(["body", "config"], "must be an object")
    return name


def _shown(preset: Any) -> dict[str, Any]:
    return {
        "preset_id": preset.preset_id,
        "name": preset.name,
        "config": preset.config,
        "created_at": preset.created_at.isoformat().replace("+00:00", "Z"),
    }
