"""``POST /clients/onboard`` and ``POST /clients/{id}/connect-broker``."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from trading.brokers import accounts, onboarding, services
from trading.brokers.base import BrokerRefused
from trading.brokers.hosts import refused_field
from trading.brokers.models import BrokerAccount
from trading.brokers.registry import UnknownBroker
from trading.brokers.serializers import (
    BrokerAccountSerializer,
    ConnectSerializer,
    OnboardedSerializer,
    OnboardSerializer,
)
from trading.core.errors import Invalid, invalid
from trading.core.idempotency import HEADER, answered, once
from trading.core.schema import ErrorSerializer
from trading.core.scope import platform_scope
from trading.tenants.access import client_for
from trading.tenants.parameters import NotWithinLimits
from trading.tenants.permissions import Permission
from trading.tenants.scope import ScopedView

KEY = OpenApiParameter(HEADER, str, OpenApiParameter.HEADER, description="Sent again, it has no second effect.")
BROKER_ERRORS = {502: ErrorSerializer, 503: ErrorSerializer}


class OnboardView(APIView):
    """New clients."""

    needs = {"POST": Permission.ONBOARD}

    @extend_schema(
        operation_id="clients_onboard",
        request=OnboardSerializer,
        parameters=[KEY],
        responses={201: OnboardedSerializer, 401: ErrorSerializer, 403: ErrorSerializer, **BROKER_ERRORS},
    )
    @platform_scope()
    def post(self, request: Request) -> Response:
        """Open a client with its owner, and connect its broker when one is named: all of it or nothing."""
        given = OnboardSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        kept = answered(request, "onboard")
        if kept is not None:
            return kept
        application = onboarding.Application(**given.validated_data)

        def act() -> Response:
            owner = onboarding.onboard(client_id, application, now=timezone.now())
            made = {"client_id": str(client_id), "name": application.name.strip(), "username": owner.username}
            return Response({**made, "broker": application.broker}, status=201)

        try:
            with named():
                client_id = onboarding.prepare(application)
                return once(request, "onboard", act)
        except Invalid:
            kept = answered(request, "onboard")  # of two at once, the other has taken the name under the same key
            if kept is None:
                raise
            return kept


class ConnectBrokerView(ScopedView):
    """A client's account at a broker."""

    needs = {"POST": Permission.CONNECT_BROKER}

    @extend_schema(
        operation_id="clients_connect_broker",
        request=ConnectSerializer,
        parameters=[KEY],
        responses={200: BrokerAccountSerializer, 404: ErrorSerializer, **BROKER_ERRORS},
    )
    def post(self, request: Request, client_id: UUID) -> Response:
        """Try a session with the credentials, and keep them encrypted when it opens. They are never shown again."""
        client = client_for(request.user, client_id)
        given = ConnectSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        scope = f"user:{request.user.pk}"
        kept = answered(request, scope)
        if kept is not None:
            return kept
        broker, payload = given.validated_data["broker"], given.validated_data.get("credentials", {})

        def act() -> Response:
            return Response(shown(services.connect(client.id, broker, payload, now=timezone.now())))

        with named():
            accounts.try_session(client.id, broker, payload)
            return once(request, scope, act)


def shown(account: BrokerAccount) -> dict[str, Any]:
    """An account as the API has it."""
    return {
        "broker": account.broker,
        "status": account.status,
        "connected_at": account.connected_at.isoformat().replace("+00:00", "Z"),
        "tested_at": account.tested_at.isoformat().replace("+00:00", "Z"),
    }


@contextmanager
def named() -> Iterator[None]:
    """Raise what is wrong with a request as 422, by the names of its fields."""
    try:
        yield
    except UnknownBroker as error:
        raise invalid(["body", "broker"], str(error)) from None
    except BrokerRefused as error:
        field = refused_field(error)
        if field is None:
            raise
        raise invalid(["body", "credentials", field], str(error)) from None
    except accounts.InvalidCredentials as error:
        raise _invalid(["body", "credentials"], error.problems) from None
    except NotWithinLimits as error:
        raise _invalid(["body", "risk"], [([name], message) for name, message in error.problems]) from None
    except onboarding.Refused as error:
        raise _invalid(["body"], [([name], message) for name, message in error.problems]) from None


def _invalid(before: list[str | int], problems: list[tuple[Any, str]]) -> Invalid:
    return Invalid([{"loc": [*before, *place], "message": message} for place, message in problems])
