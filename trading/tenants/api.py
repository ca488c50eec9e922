"""``/auth/login`` and, in development, ``/__auth_debug``."""

from typing import Any

from django.conf import settings
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from trading.core.errors import NotFound
from trading.core.schema import ErrorSerializer
from trading.tenants.login import log_in
from trading.tenants.permissions import Permission
from trading.tenants.tokens import issue_access_token


class LoginSerializer(serializers.Serializer[dict[str, str]]):
    """A name and a password."""

    username = serializers.CharField(max_length=150)
    password = serializers.CharField(max_length=256, trim_whitespace=False)


class TokenSerializer(serializers.Serializer[dict[str, str]]):
    """A token, how long it is good, and the client that it is for."""

    access_token = serializers.CharField()
    token_type = serializers.CharField()
    expires_in = serializers.IntegerField()
    client_id = serializers.UUIDField(allow_null=True)


class LoginView(APIView):
    """A token for a name and a password."""

    authentication_classes = ()
    needs = {"POST": Permission.OPEN}

    @extend_schema(
        request=LoginSerializer,
        responses={200: TokenSerializer, 401: ErrorSerializer, 422: ErrorSerializer, 429: ErrorSerializer},
    )
    def post(self, request: Request) -> Response:
        """Log in."""
        given = LoginSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        user = log_in(request._request, **given.validated_data)
        return Response(
            {
                "access_token": issue_access_token(user),
                "token_type": "bearer",
                "expires_in": int(settings.JWT_LIFETIME.total_seconds()),
                "client_id": user.client_id,
            },
            headers={"Cache-Control": "no-store"},
        )


class AuthDebugView(APIView):
    """How this request was authenticated; not there in production."""

    needs = {"GET": Permission.OPEN}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Hidden before anything is looked at, should the route be there all the same."""
        if settings.APP_ENV == "production":
            raise NotFound
        super().initial(request, *args, **kwargs)

    @extend_schema(responses={200: OpenApiResponse(description="Who is asking, and how that is known.")})
    def get(self, request: Request) -> Response:
        """Show it."""
        user = request.user
        client_id = getattr(user, "client_id", None)
        return Response(
            {
                "authenticated": bool(user and user.is_authenticated),
                "by": request.auth if isinstance(request.auth, str) else None,
                "user": getattr(user, "username", "") or None,
                "role": getattr(user, "role", None),
                "client_id": None if client_id is None else str(client_id),
            }
        )
