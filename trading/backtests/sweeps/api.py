"""``/sweeps`` and its sub-resources."""

from typing import Any

from django.http import HttpResponse, HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from trading.backtests.api import (
    ARTIFACT_ANSWERS,
    ERRORS,
    IF_NONE_MATCH,
    LIST_ERRORS,
    Whatever,
    artifact_answer,
    body_of,
    client_of,
    detailed,
    listed,
    manifest_answer,
    run_of,
    submission,
)
from trading.backtests.models import Kind
from trading.backtests.parsing import InvalidConfig
from trading.backtests.serializers import (
    ManifestSerializer,
    SweepListSerializer,
    SweepSerializer,
    SweepSubmittedSerializer,
)
from trading.backtests.sweeps.config import SweepConfig, parse
from trading.core.errors import Invalid
from trading.core.schema import ErrorSerializer
from trading.jobs.api import KEY, caller
from trading.tenants.permissions import Permission
from trading.tenants.scope import ScopedView


def configuration(value: dict[str, Any]) -> SweepConfig:
    """``value`` as a sweep's configuration; 422 says where it is not one."""
    try:
        return parse(value)
    except InvalidConfig as error:
        raise Invalid([{**item, "loc": ["body", *item["loc"]]} for item in error.errors]) from None


class SweepsView(ScopedView):
    """Sweeps."""

    needs = {"GET": Permission.SEE_ACCOUNT, "POST": Permission.RESEARCH}

    @extend_schema(
        operation_id="sweeps_list",
        parameters=[
            OpenApiParameter("limit", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}),
            OpenApiParameter("cursor", OpenApiTypes.UUID, description="As the list before gave it in `next`."),
        ],
        responses={200: SweepListSerializer, **LIST_ERRORS},
    )
    def get(self, request: Request) -> Response:
        """Sweeps, newest first."""
        return listed(request, Kind.SWEEP)

    @extend_schema(
        operation_id="sweeps_create",
        request=SweepConfig,
        parameters=[KEY],
        responses={200: SweepSubmittedSerializer, 202: SweepSubmittedSerializer, **LIST_ERRORS, 413: ErrorSerializer},
    )
    def post(self, request: Request) -> Response:
        """Have a search worked out: 202 when that begins, 200 when it was submitted before."""
        client_id = client_of(request)
        return submission(request, configuration(body_of(request)), client_id, ("body", "config"))


class SweepView(ScopedView):
    """One sweep."""

    needs = {"GET": Permission.SEE_ACCOUNT}

    @extend_schema(operation_id="sweeps_retrieve", responses={200: SweepSerializer, **ERRORS})
    def get(self, request: Request, sweep_hash: str) -> Response:
        """With its configuration, where it stands, and once it has finished its best point and what that is worth."""
        return detailed(run_of(caller(request), sweep_hash, Kind.SWEEP))


class SweepArtifactsView(ScopedView):
    """What a sweep left."""

    needs = {"GET": Permission.SEE_ACCOUNT}

    @extend_schema(
        operation_id="sweeps_manifest",
        responses={200: ManifestSerializer, **ERRORS, 409: ErrorSerializer, 500: ErrorSerializer},
    )
    def get(self, request: Request, sweep_hash: str) -> HttpResponse:
        """The manifest, as the bytes that were written."""
        return manifest_answer(run_of(caller(request), sweep_hash, Kind.SWEEP))


class SweepArtifactView(ScopedView):
    """One artifact."""

    needs = {"GET": Permission.SEE_ACCOUNT}
    content_negotiation_class = Whatever

    @extend_schema(operation_id="sweeps_artifact", parameters=[IF_NONE_MATCH], responses=ARTIFACT_ANSWERS)
    def get(self, request: Request, sweep_hash: str, name: str) -> HttpResponseBase:
        """Its bytes, after they were found to be those of the manifest. The ETag is their SHA-256."""
        return artifact_answer(request, run_of(caller(request), sweep_hash, Kind.SWEEP), name)
