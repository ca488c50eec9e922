"""``/runs`` and its sub-resources."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast
from uuid import UUID

from django.http import FileResponse, HttpResponse, HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response

from trading.backtests import manifest, selectors, services
from trading.backtests.candles import Misspaced, NoCandles, TooManyCandles
from trading.backtests.config import RunConfig
from trading.backtests.models import Kind, Run
from trading.backtests.parsing import InvalidConfig, parse
from trading.backtests.serializers import (
    BacktestListSerializer,
    BacktestSerializer,
    ManifestSerializer,
    SubmittedSerializer,
)
from trading.backtests.sweeps.config import SweepConfig
from trading.core.errors import ApiError, Invalid, NotFound, invalid
from trading.core.idempotency import once
from trading.core.middleware import request_id
from trading.core.pagination import page
from trading.core.schema import ErrorSerializer
from trading.jobs.access import Caller
from trading.jobs.api import KEY, caller
from trading.tenants.permissions import Permission
from trading.tenants.scope import ScopedView

ERRORS = {401: ErrorSerializer, 403: ErrorSerializer, 404: ErrorSerializer}
LIST_ERRORS = {401: ErrorSerializer, 403: ErrorSerializer, 422: ErrorSerializer}
PARQUET = "application/vnd.apache.parquet"
TYPES = {
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".parquet": PARQUET,
}
IF_NONE_MATCH = OpenApiParameter("If-None-Match", str, OpenApiParameter.HEADER, description="An ETag.")
ARTIFACT_ANSWERS: Any = {
    (200, "application/json"): OpenApiTypes.BINARY,
    (200, "text/csv"): OpenApiTypes.BINARY,
    (200, "text/html"): OpenApiTypes.BINARY,
    (200, PARQUET): OpenApiTypes.BINARY,
    304: None,
    **ERRORS,
    409: ErrorSerializer,
    500: ErrorSerializer,
}
_TAG = re.compile(r'(?:W/)?"([^"]*)"')


def client_of(request: Request) -> UUID:
    """The client that the caller works for; 403 for operators, who stand outside all clients."""
    client_id = caller(request).client_id
    if client_id is None:
        raise ApiError(403, "forbidden", "What is kept here belongs to a client; sign in as one of its users.")
    return client_id


def body_of(request: Request) -> dict[str, Any]:
    """The request's JSON object; the parser takes nothing else."""
    _ = request._request.body  # kept, before the parser reads it away: an Idempotency-Key is bound to it
    return cast("dict[str, Any]", request.data)


def configuration(value: Mapping[str, Any], *, loc: tuple[str, ...] = ("body",)) -> RunConfig:
    """``value`` as a configuration; 422 says where it is not one."""
    try:
        return parse(value)
    except InvalidConfig as error:
        raise Invalid([{**item, "loc": [*loc, *item["loc"]]} for item in error.errors]) from None


def run_of(who: Caller, run_hash: str, kind: Kind = Kind.RUN) -> Run:
    """The newest run or sweep of that hash that they may see; another's is as if it did not exist."""
    run = selectors.newest(selectors.visible(who, kind), run_hash)
    if run is None:
        raise NotFound(f"There is no such {kind}.")
    return run


def listed(request: Request, kind: Kind) -> Response:
    """A page of runs or sweeps, newest first."""
    found, following = page(request, selectors.visible(caller(request), kind), filters=())
    runs = [run for run in found if isinstance(run, Run)]
    known = selectors.job_runs(runs)
    rows = [selectors.summary(run, known.get(run.job_run_id) if run.job_run_id else None) for run in runs]
    return Response({"results": rows, "next": following})


def detailed(run: Run) -> Response:
    """One run or sweep in full."""
    job = selectors.job_runs([run]).get(run.job_run_id) if run.job_run_id else None
    return Response(selectors.detail(run, job))


def submission(request: Request, config: RunConfig | SweepConfig, client_id: UUID, loc: Sequence[str]) -> Response:
    """Have ``config`` worked out, once for an Idempotency-Key; ``loc`` is where its backtest stands in the body."""

    def act() -> Response:
        try:
            submitted = services.submit(
                config, client_id=client_id, by=request.user.username, request_id=request_id(request._request)
            )
        except NoCandles as error:
            field = "symbol" if services.backtest_of(config).symbol else "symbols"
            raise invalid([*loc, field], str(error)) from None
        except TooManyCandles as error:
            raise invalid([*loc, "start"], str(error)) from None
        except Misspaced as error:
            raise invalid([*loc, "timeframe"], str(error)) from None
        run = submitted.run
        job = selectors.job_runs([run]).get(run.job_run_id) if run.job_run_id else None
        answer = {
            f"{run.kind}_hash": run.run_hash,
            "status": selectors.status(run, job),
            "job_run_id": str(run.job_run_id),
            "reused": not submitted.started,
        }
        return Response(answer, status=202 if submitted.started else 200)

    return once(request, f"user:{request.user.pk}", act)


class RunsView(ScopedView):
    """Backtests."""

    needs = {"GET": Permission.SEE_ACCOUNT, "POST": Permission.RESEARCH}

    @extend_schema(
        operation_id="runs_list",
        parameters=[
            OpenApiParameter("limit", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}),
            OpenApiParameter("cursor", OpenApiTypes.UUID, description="As the list before gave it in `next`."),
        ],
        responses={200: BacktestListSerializer, **LIST_ERRORS},
    )
    def get(self, request: Request) -> Response:
        """Runs, newest first."""
        return listed(request, Kind.RUN)

    @extend_schema(
        operation_id="runs_create",
        request=RunConfig,
        parameters=[KEY],
        responses={200: SubmittedSerializer, 202: SubmittedSerializer, **LIST_ERRORS, 413: ErrorSerializer},
    )
    def post(self, request: Request) -> Response:
        """Have a configuration worked out: 202 when that begins, 200 when it was submitted before."""
        client_id = client_of(request)
        config = configuration(body_of(request))
        return submission(request, config, client_id, ("body",))


class RunView(ScopedView):
    """One backtest."""

    needs = {"GET": Permission.SEE_ACCOUNT}

    @extend_schema(operation_id="runs_retrieve", responses={200: BacktestSerializer, **ERRORS})
    def get(self, request: Request, run_hash: str) -> Response:
        """With its configuration, where it stands, and its metrics once it has finished."""
        return detailed(run_of(caller(request), run_hash))


class ArtifactsView(ScopedView):
    """What a backtest left."""

    needs = {"GET": Permission.SEE_ACCOUNT}

    @extend_schema(
        operation_id="runs_manifest",
        responses={200: ManifestSerializer, **ERRORS, 409: ErrorSerializer, 500: ErrorSerializer},
    )
    def get(self, request: Request, run_hash: str) -> HttpResponse:
        """The manifest, as the bytes that were written."""
        return manifest_answer(run_of(caller(request), run_hash))


def manifest_answer(run: Run) -> HttpResponse:
    """The manifest of a run or sweep, as the bytes that were written."""
    return HttpResponse(_manifest(run).body, content_type="application/json")


class Whatever(BaseContentNegotiation):
    """An artifact has one form, whatever the caller would rather have."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """The first."""
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """The first, for errors."""
        return renderers[0], renderers[0].media_type


class ArtifactView(ScopedView):
    """One artifact."""

    needs = {"GET": Permission.SEE_ACCOUNT}
    content_negotiation_class = Whatever

    @extend_schema(
        operation_id="runs_artifact",
        parameters=[IF_NONE_MATCH],
        responses=ARTIFACT_ANSWERS,
    )
    def get(self, request: Request, run_hash: str, name: str) -> HttpResponseBase:
        """Its bytes, after they were found to be those of the manifest. The ETag is their SHA-256."""
        return artifact_answer(request, run_of(caller(request), run_hash), name)


def artifact_answer(request: Request, run: Run, name: str) -> HttpResponseBase:
    """One artifact of a run or sweep; 304 when the caller has it."""
    found = _manifest(run)
    if name == manifest.NAME:
        return HttpResponse(found.body, content_type=TYPES[".json"])
    entry = found.entry(name)
    if entry is None:
        raise NotFound(f"The {run.kind} left no such artifact; GET its /artifacts lists those that it did.")
    headers = {"ETag": f'"{entry.sha256}"', "Cache-Control": "private, no-cache"}
    if _matches(request.headers.get("If-None-Match", ""), entry.sha256):
        return HttpResponse(status=304, headers=headers)
    try:
        file = services.store().open(run.client_id, run.id, entry)
    except manifest.Tampered as error:
        raise corrupt(str(error)) from None
    suffix = name[name.rfind(".") :]
    if suffix == ".html":
        headers["Content-Security-Policy"] = PAGE_POLICY
    return FileResponse(file, content_type=TYPES.get(suffix, "application/octet-stream"), headers=headers)


PAGE_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'self'"


def _manifest(run: Run) -> manifest.Manifest:
    try:
        found = selectors.manifest_of(run)
    except manifest.Tampered as error:
        raise corrupt(str(error)) from None
    if found is None:
        raise ApiError(409, "not_finished", f"The {run.kind} has not finished; follow its /events.")
    return found


def corrupt(what: str) -> ApiError:
    """The answer when stored bytes are not those of the manifest."""
    message = f"What is stored is not what the run left: {what}. Ask an operator for manage.py verify_run."
    return ApiError(500, "artifact_corrupt", message)


def _matches(header: str, sha256: str) -> bool:
    return header.strip() == "*" or sha256 in _TAG.findall(header)
