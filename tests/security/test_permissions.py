"""No route without declared permissions, none that a reader may change anything through, none left undescribed."""

import re

import pytest
from django.test import Client as Http
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from pydantic import BaseModel
from rest_framework.test import APIRequestFactory, force_authenticate
from rest_framework.views import APIView

from tests.security.routes import NOT_IN_THE_API, WITHOUT_NEEDS, Route, routes
from trading.core.serializers import StrictSerializer
from trading.tenants.models import Client, Role, User
from trading.tenants.permissions import HOLDERS, READING, Declared, Holder, Permission, allows

METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
ROUTES = [route for route in routes() if not route.is_admin]
READ_BY_HAND = {"/internal/tasks/{job}": "its arguments are the job's own, which pydantic checks"}
PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")


def named(route: Route) -> str:
    return "/" + route.path


@pytest.mark.parametrize("route", ROUTES, ids=named)
def test_every_route_says_what_each_of_its_methods_needs(route: Route) -> None:
    if route.path in WITHOUT_NEEDS:
        return
    assert route.needs, "add `needs = {...}` to the view: trading/tenants/permissions.py"
    assert set(route.needs) <= METHODS
    view_class = getattr(route.view, "view_class", None)
    if view_class is not None:
        answered = {method for method in METHODS if hasattr(view_class, method.lower())}
        assert answered == set(route.needs), "methods that the view answers, and methods that it declares"


@pytest.mark.parametrize("route", ROUTES, ids=named)
def test_every_view_of_the_api_asks_the_table(route: Route) -> None:
    view_class = getattr(route.view, "view_class", None)
    if view_class is not None and issubclass(view_class, APIView):
        assert Declared in view_class.permission_classes


@pytest.mark.parametrize("route", ROUTES, ids=named)
def test_a_reader_changes_nothing(route: Route) -> None:
    for method, permission in route.needs.items():
        if method not in READING and permission not in (Permission.OPEN, Permission.OWN_SESSION):
            assert Role.READ_ONLY not in HOLDERS[permission], f"{method} {named(route)}"


def test_every_permission_has_holders_and_only_known_ones() -> None:
    assert set(HOLDERS) == set(Permission)
    known = {*Role.values, *Holder}
    for permission, holders in HOLDERS.items():
        assert holders, permission
        assert holders <= known, permission
    anybody = {permission for permission in Permission if Holder.ANYBODY in HOLDERS[permission]}
    assert anybody == {Permission.OPEN}


def test_nobody_known_holds_only_what_is_open() -> None:
    assert [permission for permission in Permission if allows(permission, None)] == [Permission.OPEN]


def test_every_route_is_in_the_description_or_in_the_short_list() -> None:
    described = set(SchemaGenerator().get_schema(request=None, public=True)["paths"])
    for route in ROUTES:
        path = "/" + PARAMETER.sub(r"{\1}", route.path)
        assert (path in described) != route.is_page, path
    assert {route.path for route in ROUTES} >= NOT_IN_THE_API


def test_the_description_is_made_without_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    GENERATOR_STATS.reset()
    SchemaGenerator().get_schema(request=None, public=True)
    assert not GENERATOR_STATS, capsys.readouterr().err


def test_every_request_is_read_strictly() -> None:
    generator = SchemaGenerator()
    generator.parse(None, True)
    for path, _, method, view in generator._get_paths_and_endpoints():
        serializer = view.schema.get_request_serializer()
        if serializer is None or method in READING or path in READ_BY_HAND:
            continue
        kind = serializer if isinstance(serializer, type) else type(serializer)
        if issubclass(kind, BaseModel):
            assert (kind.model_config.get("strict"), kind.model_config.get("extra")) == (True, "forbid"), path
        else:
            assert issubclass(kind, StrictSerializer), f"{method} {path}: {kind.__name__}"


@pytest.mark.django_db
def test_a_view_that_declares_nothing_answers_nobody() -> None:
    class Forgotten(APIView):
        def get(self, request: object) -> None:
            raise AssertionError("nobody gets here")

    client = Client.objects.create(name="Desk")
    for role in Role:
        of = None if role == Role.OPERATOR else client
        request = APIRequestFactory().get("/forgotten")
        force_authenticate(request, User.objects.create_user(role, role=role, client=of))
        assert Forgotten.as_view()(request).status_code == 405
    assert Forgotten.as_view()(APIRequestFactory().get("/forgotten")).status_code == 401


@pytest.mark.django_db
@pytest.mark.parametrize("role", [None, Role.READ_ONLY, Role.TRADER, Role.OWNER])
def test_the_admin_is_for_operators(role: Role | None) -> None:
    http = Http()
    if role is not None:
        client = Client.objects.create(name="Desk")
        http.force_login(User.objects.create_user("u", role=role, client=client, is_staff=True))
    checked = 0
    for route in routes():
        if not route.is_admin or "<path:" in route.path or "(?P" in route.path:
            continue
        path = "/" + PARAMETER.sub("1", route.path)
        if path in ("/admin/login/", "/admin/logout/"):
            continue
        answer = http.get(path)
        assert answer.status_code in (302, 403, 404), path
        if answer.status_code == 302:
            assert answer["Location"].startswith(("/login", "/admin/login")), path
        checked += 1
    assert checked > 20
