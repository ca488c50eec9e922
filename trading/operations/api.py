"""``/health``, ``/scheduler/status``, ``/metrics`` and ``/__whoami``."""

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from drf_spectacular.utils import OpenApiResponse, extend_schema
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from trading.core.errors import ApiError
from trading.core.peers import is_loopback
from trading.core.scope import platform_scope
from trading.operations import health
from trading.operations.metrics import LEDGER
from trading.tenants.authentication import same
from trading.tenants.permissions import Permission, needs

NAME = "quantum-trader"


class OpenView(APIView):
    """Answers everybody, so says nothing that is not everybody's."""

    authentication_classes = ()
    needs = {"GET": Permission.OPEN}


class HealthView(OpenView):
    """Liveness."""

    @extend_schema(responses={200: OpenApiResponse(description="Alive, with a snapshot of the scheduler.")})
    def get(self, request: Request) -> Response:
        """Alive."""
        try:
            scheduler: dict[str, object] = health.scheduler()
        except DatabaseError:
            scheduler = {"status": "unknown", "running": None, "next_run_time": None}
        return Response({"status": "ok", "version": settings.VERSION, "scheduler": scheduler})


class ReadyView(OpenView):
    """Readiness."""

    @extend_schema(
        responses={
            200: OpenApiResponse(description="Everything that work needs can be reached."),
            503: OpenApiResponse(description="Something cannot; `checks` says what."),
        },
    )
    def get(self, request: Request) -> Response:
        """Ready, or not."""
        ready, checks = health.readiness()
        return Response({"status": "ok" if ready else "degraded", "checks": checks}, status=200 if ready else 503)


class SchedulerStatusView(OpenView):
    """The scheduler: at ``/health/scheduler`` and, as older frontends know it, at ``/scheduler/status``."""

    @extend_schema(responses={200: OpenApiResponse(description="Its entries, errors, symbols, exposure.")})
    def get(self, request: Request) -> Response:
        """Whether it runs; entries, next times, recent errors, symbols, exposure."""
        return Response(health.scheduler_status())


class WhoAmIView(OpenView):
    """What answers here."""

    @extend_schema(responses={200: OpenApiResponse(description="The server's name and version.")})
    def get(self, request: Request) -> Response:
        """Name and version."""
        return Response({"server": NAME, "version": settings.VERSION})


@needs(GET=Permission.READ_METRICS)
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus: for this machine itself, and for whoever bears ``QT_ADMIN_TOKEN``."""
    if request.method not in ("GET", "HEAD"):
        raise ApiError(405, "method_not_allowed", "Only GET is answered here.", headers={"Allow": "GET, HEAD"})
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    given = token if scheme.lower() == "bearer" else request.headers.get("X-Admin-Token", "")
    if not is_loopback(request) and not same(given, settings.QT_ADMIN_TOKEN):
        raise ApiError(
            401,
            "not_authenticated",
            "Metrics are for this machine, or with QT_ADMIN_TOKEN as bearer or in X-Admin-Token.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    with platform_scope():
        return HttpResponse(generate_latest(REGISTRY) + generate_latest(LEDGER), content_type=CONTENT_TYPE_LATEST)
