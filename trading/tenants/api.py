"""``/auth/login``, ``/auth/refresh``, ``/auth/logout`` and, in development, ``/__auth_debug``."""

from typing import Any, cast

from django.conf import settings
from django.contrib.auth import logout
from django.utils import timezone
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from trading.core.errors import ApiError, NotFound
from trading.core.schema import ErrorSerializer
from trading.core.scope import platform_scope
from trading.core.serializers import StrictSerializer
from trading.tenants import sessions
from trading.tenants.login import log_in
from trading.tenants.models import User
from trading.tenants.permissions import Permission
from trading.tenants.tokens import AccessToken


class LoginSerializer(StrictSerializer):
    """A name and a password."""

    username = serializers.CharField(max_length=150)
    password = serializers.CharField(max_length=256, trim_whitespace=False)


class RefreshSerializer(StrictSerializer):
    """A refresh token, as a login or a refresh gave it."""

    refresh_token = serializers.CharField(max_length=200, trim_whitespace=False)


class LogoutSerializer(StrictSerializer):
    """Which logins: this one, or all of the user's."""

    everywhere = serializers.BooleanField(default=False)


class TokenSerializer(serializers.Serializer[dict[str, str]]):
    """Tokens, how long they are good (seconds), and the client that they are for."""

    access_token = serializers.CharField()
    token_type = serializers.CharField()
    expires_in = serializers.IntegerField()
    refresh_token = serializers.CharField(help_text="Good once, for `/auth/refresh`.")
    refresh_expires_in = serializers.IntegerField()
    client_id = serializers.UUIDField(allow_null=True)


def _answer(tokens: sessions.Tokens) -> Response:
    """Not kept by anybody on the way, nor under an `Idempotency-Key`: tokens are stored nowhere."""
    return Response(
        {
            "access_token": tokens.access,
            "token_type": "bearer",
            "expires_in": tokens.access_seconds,
            "refresh_token": tokens.refresh,
            "refresh_expires_in": tokens.refresh_seconds,
            "client_id": tokens.user.client_id,
        },
        headers={"Cache-Control": "no-store"},
    )


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
        with platform_scope():  # it is not known yet whose user this is
            user = log_in(request._request, **given.validated_data)
            return _answer(sessions.begin(user, now=timezone.now()))


class RefreshView(APIView):
    """New tokens without the password."""

    authentication_classes = ()
    needs = {"POST": Permission.OPEN}

    @extend_schema(
        request=RefreshSerializer, responses={200: TokenSerializer, 401: ErrorSerializer, 422: ErrorSerializer}
    )
    def post(self, request: Request) -> Response:
        """Spend a refresh token for new tokens. A spent one that is sent again ends the login."""
        given = RefreshSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        try:
            with platform_scope():
                tokens = sessions.refresh(given.validated_data["refresh_token"], now=timezone.now())
        except sessions.Refused:
            message = "The refresh token is not accepted. Log in again."
            raise ApiError(401, "invalid_refresh_token", message, headers={"WWW-Authenticate": "Bearer"}) from None
        return _answer(tokens)


class LogoutView(APIView):
    """The end of a login."""

    needs = {"POST": Permission.OWN_SESSION}

    @extend_schema(request=LogoutSerializer, responses={204: None})
    @platform_scope()
    def post(self, request: Request) -> Response:
        """End this login, or with `everywhere` all of the user's. Its tokens are good for nothing from here on."""
        given = LogoutSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        now, token = timezone.now(), request.auth
        if given.validated_data["everywhere"] or (isinstance(token, AccessToken) and token.session_id is None):
            sessions.end_all(
                cast("User", request.user).pk, now=now
            )  # a token that belongs to no login cannot be ended alone
        elif isinstance(token, AccessToken) and token.session_id is not None:
            sessions.end(token.session_id, now=now)
        else:
            logout(request._request)
        return Response(status=204)


def _way(auth: Any) -> str:
    return "jwt" if isinstance(auth, AccessToken) else str(auth or "session")


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
                "by": _way(request.auth) if request.user.is_authenticated else None,
                "user": getattr(user, "username", "") or None,
                "role": getattr(user, "role", None),
                "client_id": None if client_id is None else str(client_id),
            }
        )
