"""``/api/schema`` and ``/api/docs``: the API's description, and forms to try it, from files of our own."""

from typing import Any

from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response

from trading.tenants.permissions import Permission


class SchemaView(SpectacularAPIView):
    """OpenAPI 3."""

    needs = {"GET": Permission.OPEN}


class DocsView(SpectacularSwaggerSplitView):
    """Swagger UI; its script is a request of its own, so that the page has none written in it."""

    needs = {"GET": Permission.OPEN}
    template_name = "api/docs.html"

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The page, or with ``?script`` what starts it."""
        answer: Response = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]  # untyped upstream
        return answer
