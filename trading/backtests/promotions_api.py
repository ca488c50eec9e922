"""``/promotions``: which strategies may trade, and the decisions that let them."""

from dataclasses import asdict
from typing import Any, cast
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from trading.backtests import manifest, promotions, selectors
from trading.backtests.api import ERRORS, LIST_ERRORS, client_of, corrupt, run_of
from trading.backtests.models import Level, Promotion
from trading.backtests.serializers import PromotionListSerializer, PromotionSerializer
from trading.core.errors import ApiError, NotFound
from trading.core.idempotency import once
from trading.core.pagination import page
from trading.core.schema import ErrorSerializer
from trading.core.serializers import StrictSerializer
from trading.jobs.access import Caller
from trading.jobs.api import KEY, caller
from trading.tenants.permissions import Permission
from trading.tenants.scope import ScopedView


class PromoteSerializer(StrictSerializer):
    """A finished run, and where its strategy is to trade."""

    run_hash = serializers.RegexField(r"\A[0-9a-f]{64}\Z")
    level = serializers.ChoiceField(choices=Level.values)


class DemoteSerializer(StrictSerializer):
    """Why."""

    reason = serializers.CharField(max_length=500)


class PromotionsView(ScopedView):
    """Promotions."""

    needs = {"GET": Permission.SEE_ACCOUNT, "POST": Permission.PROMOTE}

    @extend_schema(
        operation_id="promotions_list",
        parameters=[
            OpenApiParameter("limit", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}),
            OpenApiParameter("cursor", OpenApiTypes.UUID, description="As the list before gave it in `next`."),
        ],
        responses={200: PromotionListSerializer, **LIST_ERRORS},
    )
    def get(self, request: Request) -> Response:
        """Those in force and those that were, newest first."""
        found, following = page(request, selectors.visible_promotions(caller(request)), filters=())
        return Response({"results": [shown(cast("Promotion", one)) for one in found], "next": following})

    @extend_schema(
        operation_id="promotions_create",
        request=PromoteSerializer,
        parameters=[KEY],
        responses={200: PromotionSerializer, 201: PromotionSerializer, **LIST_ERRORS, 404: ErrorSerializer}
        | {409: ErrorSerializer, 500: ErrorSerializer},
    )
    def post(self, request: Request) -> Response:
        """Let a run's strategy trade: 201, 200 when it may already, 409 with every reason when the rule says no."""
        client_of(request)
        given = PromoteSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        run = run_of(caller(request), given.validated_data["run_hash"])

        def act() -> Response:
            try:
                done = promotions.promote(run, Level(given.validated_data["level"]), by=request.user.username)
            except promotions.NotPromotable as error:
                raise ApiError(409, "not_promotable", str(error), reasons=list(map(asdict, error.reasons))) from None
            except manifest.Tampered as error:
                raise corrupt(str(error)) from None
            return Response(shown(done.promotion), status=201 if done.created else 200)

        return once(request, f"user:{request.user.pk}", act)


class PromotionView(ScopedView):
    """One promotion."""

    needs = {"GET": Permission.SEE_ACCOUNT}

    @extend_schema(operation_id="promotions_retrieve", responses={200: PromotionSerializer, **ERRORS})
    def get(self, request: Request, promotion_id: UUID) -> Response:
        """With the configuration that was tested and the numbers that the rule looked at."""
        return Response(shown(_promotion(caller(request), promotion_id)))


class DemoteView(ScopedView):
    """The end of a promotion."""

    needs = {"POST": Permission.PROMOTE}

    @extend_schema(
        operation_id="promotions_demote",
        request=DemoteSerializer,
        parameters=[KEY],
        responses={200: PromotionSerializer, **ERRORS, 422: ErrorSerializer},
    )
    def post(self, request: Request, promotion_id: UUID) -> Response:
        """Take it back. From paper it takes the strategy from live too; what has ended stays as it is."""
        client_of(request)
        promotion = _promotion(caller(request), promotion_id)
        given = DemoteSerializer(data=request.data)
        given.is_valid(raise_exception=True)

        def act() -> Response:
            reason = given.validated_data["reason"]
            return Response(shown(promotions.demote(promotion, by=request.user.username, because=reason)))

        return once(request, f"user:{request.user.pk}", act)


def _promotion(who: Caller, promotion_id: UUID) -> Promotion:
    found = selectors.visible_promotions(who).filter(id=promotion_id).first()
    if found is None:
        raise NotFound("There is no such promotion.")
    return found


def shown(promotion: Promotion) -> dict[str, Any]:
    """A promotion in JSON."""
    return {
        "id": str(promotion.id),
        "level": promotion.level,
        "strategy": promotion.strategy,
        "strategy_sha256": promotion.strategy_sha256,
        "run_hash": promotion.run_hash,
        "content_hash": promotion.content_hash,
        "config": promotion.config,
        "evidence": promotion.evidence,
        "promoted_by": promotion.promoted_by,
        "promoted_at": promotion.promoted_at,
        "demoted_by": promotion.demoted_by or None,
        "demoted_at": promotion.demoted_at,
        "demoted_because": promotion.demoted_because or None,
    }
