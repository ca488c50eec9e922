"""``/jobs/runs`` and its sub-resources, and ``/internal/tasks/{job}``."""

from datetime import datetime
from typing import Any, cast
from uuid import UUID

from django.db import transaction
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from trading.audit.services import record
from trading.core.errors import ApiError, Invalid, NotFound, invalid
from trading.core.idempotency import HEADER, once
from trading.core.middleware import request_id
from trading.core.pagination import moment, page
from trading.core.parsing import parse
from trading.core.schema import ErrorSerializer
from trading.jobs import selectors, services, signatures
from trading.jobs.access import Caller, may_change, visible
from trading.jobs.models import JobRun
from trading.jobs.registry import UnknownJob
from trading.jobs.serializers import (
    EnqueuedSerializer,
    RunListSerializer,
    RunSerializer,
    SignedTaskSerializer,
)
from trading.jobs.states import State, Trigger
from trading.tenants.permissions import Holder, Permission
from trading.tenants.scope import ScopedView

FILTERS = ("status", "job", "since")
KEY = OpenApiParameter(HEADER, str, OpenApiParameter.HEADER, description="Sent again, it has no second effect.")
ERRORS = {401: ErrorSerializer, 403: ErrorSerializer, 404: ErrorSerializer, 422: ErrorSerializer}


def caller(request: Request) -> Caller:
    """Who is asking; the permission has made sure that it is somebody."""
    return cast("Caller", request.user)


def run_of(who: Caller, run_id: UUID) -> JobRun:
    """A run that they may see; another's is as if it did not exist."""
    run = visible(who).filter(id=run_id).first()
    if run is None:
        raise NotFound("There is no such run.")
    return run


class RunListView(ScopedView):
    """Runs, newest first."""

    needs = {"GET": Permission.SEE_RUNS}

    @extend_schema(
        operation_id="jobs_runs_list",
        parameters=[
            OpenApiParameter("status", enum=State.values, description="Only runs in this state."),
            OpenApiParameter("job", str, description="Only runs of this job."),
            OpenApiParameter("since", datetime, description="Only runs created at or after this time."),
            OpenApiParameter("limit", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}),
            OpenApiParameter("cursor", UUID, description="As the list before gave it in `next`."),
        ],
        responses={200: RunListSerializer, 401: ErrorSerializer, 403: ErrorSerializer, 422: ErrorSerializer},
    )
    def get(self, request: Request) -> Response:
        """One page of them."""
        query = request.query_params
        state = query.get("status")
        if state is not None and state not in State.values:
            raise invalid(["query", "status"], f"must be one of {', '.join(State.values)}")
        job = query.get("job")
        if job is not None and ("\x00" in job or len(job) > 64):
            raise invalid(["query", "job"], "not the slug of a job")
        rows = selectors.listed(visible(caller(request)), state=state, job=job, since=moment(request, "since"))
        found, following = page(request, rows, filters=FILTERS)
        return Response({"results": [selectors.summary(run) for run in found], "next": following})  # type: ignore[arg-type]


class RunView(ScopedView):
    """One run."""

    needs = {"GET": Permission.SEE_RUNS}

    @extend_schema(responses={200: RunSerializer, **ERRORS})
    def get(self, request: Request, run_id: UUID) -> Response:
        """With its steps, attempts, arguments, error and result."""
        return Response(selectors.detail(run_of(caller(request), run_id)))


class RunRetryView(ScopedView):
    """Retry."""

    needs = {"POST": Permission.CHANGE_RUNS}

    @extend_schema(request=None, parameters=[KEY], responses={202: RunSerializer, **ERRORS, 409: ErrorSerializer})
    def post(self, request: Request, run_id: UUID) -> Response:
        """Queue a run that did not succeed again, from the step that did not."""
        return _act(request, run_id, services.retry)


class RunCancelView(ScopedView):
    """Cancel."""

    needs = {"POST": Permission.CHANGE_RUNS}

    @extend_schema(request=None, parameters=[KEY], responses={202: RunSerializer, **ERRORS, 409: ErrorSerializer})
    def post(self, request: Request, run_id: UUID) -> Response:
        """Cancel a waiting run at once, ask a running one to stop."""
        return _act(request, run_id, services.cancel)


def _act(request: Request, run_id: UUID, change: Any) -> Response:
    def act() -> Response:
        run = run_of(caller(request), run_id)
        if not may_change(caller(request), run):
            raise ApiError(403, "forbidden", "Runs of this job are changed by operators, or your role may only look.")
        try:
            changed = change(run.id)
        except services.WrongState as error:
            raise ApiError(409, error.code, str(error)) from None
        except UnknownJob as error:
            raise ApiError(409, error.code, str(error)) from None
        return Response(_plain(selectors.detail(changed)), status=202)

    return once(request, f"user:{request.user.pk}", act)


def _plain(value: Any) -> Any:
    """``value`` with its times as the API writes them, so that an answer can be kept and given again."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


class InternalTaskView(ScopedView):
    """Signed tasks: a scheduler of one's own starts jobs here."""

    authentication_classes = (signatures.TaskSignature,)
    needs = {"POST": Permission.START_TASKS}

    @extend_schema(
        request=SignedTaskSerializer,
        parameters=[
            OpenApiParameter(
                "X-Task-Timestamp", str, OpenApiParameter.HEADER, required=True, description="Unix seconds."
            ),
            OpenApiParameter(
                "X-Task-Signature",
                str,
                OpenApiParameter.HEADER,
                required=True,
                description="Hex HMAC-SHA256 of timestamp, method, path and body, joined by line feeds.",
            ),
            KEY,
        ],
        responses={
            202: EnqueuedSerializer,
            401: ErrorSerializer,
            404: ErrorSerializer,
            409: ErrorSerializer,
            413: ErrorSerializer,
            422: ErrorSerializer,
        },
    )
    def post(self, request: Request, job: str) -> Response:
        """Enqueue the job of that slug."""
        body = parse(request._request.body)
        arguments, client_id = _task(body)

        def act() -> Response:
            try:
                enqueued = services.enqueue(
                    job,
                    arguments,
                    client_id=client_id,
                    trigger=Trigger.INTERNAL,
                    triggered_by="signed task",
                    request_id=request_id(request._request),
                )
            except UnknownJob as error:
                raise NotFound(str(error), error.code) from None
            except services.InvalidArguments as error:
                raise Invalid([{**fault, "loc": ["body", *fault["loc"]]} for fault in error.errors]) from None
            record(
                "job_run.enqueued",
                client_id=client_id,
                subject=f"job_run:{enqueued.run.id}",
                data={"job": job, "created": enqueued.created},
                actor=Holder.TASK_SIGNATURE,
            )
            return Response({"run_id": str(enqueued.run.id), "created": enqueued.created}, status=202)

        with transaction.atomic():
            signatures.use_once(str(request.auth))  # also by a request whose key is answered from memory
            return once(request, "internal", act)


def _task(body: dict[str, Any]) -> tuple[dict[str, Any], UUID | None]:
    for name in body:
        if name not in ("args", "client_id"):
            raise invalid(["body", name], "not known here; there are: args, client_id")
    arguments = body.get("args", {})
    if not isinstance(arguments, dict):
        raise invalid(["body", "args"], "must be an object")
    given = body.get("client_id")
    if given is None:
        return arguments, None
    try:
        return arguments, UUID(given)
    except (ValueError, AttributeError, TypeError):
        raise invalid(["body", "client_id"], "must be a client's id") from None
