"""Every route and verb with own, other clients' and missing ids, for each role and key, the expired and nobody.

`PLACES` says for each route what body it is sent, and what somebody who may is answered; one that is not in it fails
the suite. What somebody who may not is answered follows from the table of permissions and is not written here: 401 for
nobody, 403 for the wrong role, 404 in the same bytes for another client's id and for one that does not exist.
"""

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from django.conf import settings
from django.test import Client as Http
from pytest_django import Settings

from tests.security.conftest import JSON, bearer, signed
from tests.security.routes import NOT_IN_THE_API, Route, routes
from trading.backtests.models import Kind, Preset, Promotion, Run
from trading.execution.models import Difference, Order
from trading.jobs import processes, services
from trading.jobs.models import JobRun
from trading.tenants.models import Client, Role, User
from trading.tenants.permissions import HOLDERS, Holder, Permission

VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")
MISSING = UUID("00000000-0000-7000-8000-0000000000ff")
PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
OF_A_CLIENT = re.compile(r"<\w+:(client_id|run_id|preset_id|run_hash|sweep_hash|promotion_id)>")
KEYS = {Holder.CRON: "CRON_SECRET", Holder.ADMIN_KEY: "ADMIN_API_KEY", Holder.ADMIN_TOKEN: "QT_ADMIN_TOKEN"}
KEY_HEADERS = {Holder.CRON: "X-Cron-Secret", Holder.ADMIN_KEY: "X-Admin-Key", Holder.ADMIN_TOKEN: "X-Admin-Token"}
SENDERS = (*Role.values, *KEYS, Holder.TASK_SIGNATURE, "other_owner", "anonymous", "expired", "forged")


@dataclass
class World:
    """Two clients and what belongs to them."""

    own: Client
    other: Client
    users: dict[str, User]
    ids: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """How a route is asked, and what those who may are answered, verb by verb.

    ``but`` has the answers of single senders who hold the permission and yet are told something else.
    """

    answers: dict[str, int]
    body: Any = None
    but: dict[tuple[str, str], int] = field(default_factory=dict)


OPEN = Place({"GET": 200})
PLACES: dict[str, Place] = {
    "auth/login": Place({"POST": 401}, {"username": "nobody", "password": "wrong"}),
    "auth/refresh": Place({"POST": 401}, {"refresh_token": "wrong"}),
    "auth/logout": Place({"POST": 204}, {}),
    "__auth_debug": OPEN,
    "jobs/runs": OPEN,
    "jobs/runs/<uuid:run_id>": OPEN,
    "jobs/runs/<uuid:run_id>/retry": Place({"POST": 409}),  # it has not failed
    "jobs/runs/<uuid:run_id>/cancel": Place({"POST": 202}),
    "jobs/runs/<uuid:run_id>/events": OPEN,
    "internal/tasks/<slug:job>": Place({"POST": 202}, {"args": {"n": 1}}),
    "runs": Place({"GET": 200, "POST": 422}, {}),
    "runs/<str:run_hash>": OPEN,
    "runs/<str:run_hash>/artifacts": Place({"GET": 409}),  # it has not finished
    "runs/<str:run_hash>/artifacts/<path:name>": Place({"GET": 409}),
    "runs/<str:run_hash>/events": OPEN,
    "sweeps": Place({"GET": 200, "POST": 422}, {}),
    "sweeps/<str:sweep_hash>": OPEN,
    "sweeps/<str:sweep_hash>/artifacts": Place({"GET": 409}),  # it has not finished
    "sweeps/<str:sweep_hash>/artifacts/<path:name>": Place({"GET": 409}),
    "sweeps/<str:sweep_hash>/events": OPEN,
    "promotions": Place({"GET": 200, "POST": 422}, {}),
    "promotions/<uuid:promotion_id>": OPEN,
    "promotions/<uuid:promotion_id>/demote": Place({"POST": 200}, {"reason": "enough"}),
    "presets": Place({"GET": 200, "POST": 422}, {}),
    "presets/<str:preset_id>": Place({"GET": 200, "DELETE": 204}),
    "clients/onboard": Place({"POST": 422}, {}),
    "clients/<uuid:client_id>/connect-broker": Place({"POST": 422}, {}),
    "clients/<uuid:client_id>/agent/parameters": Place({"GET": 200, "POST": 200}, {"strategy": {"max_orders": 3}}),
    "clients/<uuid:client_id>/audit": OPEN,
    "clients/<uuid:client_id>/positions": OPEN,
    "clients/<uuid:client_id>/trades": OPEN,
    "clients/<uuid:client_id>/orders": OPEN,
    "clients/<uuid:client_id>/orders/<uuid:order_id>": OPEN,
    "clients/<uuid:client_id>/orders/<uuid:order_id>/cancel": Place({"POST": 202}),
    "clients/<uuid:client_id>/orders/<uuid:order_id>/replace": Place(
        {"POST": 409}, {"quantity": "1", "limit_price": "1"}
    ),  # it is not open
    "health": OPEN,
    "health/ready": OPEN,
    "health/scheduler": OPEN,
    "scheduler/status": OPEN,
    "metrics": OPEN,
    "settings": Place({"GET": 200, "POST": 422}, {"NO_SUCH_SETTING": "1"}),
    "risk": OPEN,
    "risk/kill-switch": Place({"POST": 200}, {"enabled": None}),
    "risk/reset": Place({"POST": 200}, {}),
    "admin/emergency-halt": Place({"GET": 200, "POST": 200}, {"enabled": False}),
    "__whoami": OPEN,
}
ROUTES = [route for route in routes() if not route.is_page]


def test_every_route_of_the_api_has_its_place() -> None:
    paths = {route.path for route in ROUTES}
    assert paths - set(PLACES) == set(), "add the route to PLACES"
    assert set(PLACES) - paths == set(), "these routes are gone"
    for route in ROUTES:
        assert set(PLACES[route.path].answers) == set(route.needs), route.path


@pytest.fixture
def world(sample_jobs: None) -> World:
    own, other = Client.objects.bulk_create([Client(name="Own"), Client(name="Other")])
    users = {str(role): User(username=role, role=role, client=None if role == Role.OPERATOR else own) for role in Role}
    users["other_owner"] = User(username="other", role=Role.OWNER, client=other)
    User.objects.bulk_create(users.values())
    pair = ("own", own, "1", "4", "a"), ("other", other, "2", "5", "b")
    runs = {whose: str(services.enqueue("execution-cycle", client_id=client.id).run.id) for whose, client, *_ in pair}
    presets = {whose: letter * 64 for whose, _, _, _, letter in pair}
    Preset.objects.bulk_create(
        Preset(client=client, preset_id=presets[whose], name=whose, config={}) for whose, client, *_ in pair
    )
    backtests = {whose: digit * 64 for whose, _, digit, _, _ in pair}
    sweeps = {whose: digit * 64 for whose, _, _, digit, _ in pair}
    of = {"symbol": "TEST", "strategy": {"name": "dual_sma"}}
    swept = {"config": of, "parameters": {}, "search": "grid", "objective": "sharpe"}
    Run.objects.bulk_create(
        Run(
            client=client,
            kind=kind,
            run_hash=hashes[whose],
            config=config,
            data_hash="d",
            code_version="c",
            lock_hash="l",
        )
        for whose, client, *_ in pair
        for kind, hashes, config in ((Kind.RUN, backtests, of), (Kind.SWEEP, sweeps, swept))
    )
    promotions = Promotion.objects.bulk_create(
        Promotion(client=client, level="paper", strategy="dual_sma", config={}, evidence={}, promoted_by="somebody")
        for _, client, *_ in pair
    )
    orders = Order.objects.bulk_create([_order(own), _order(other)])
    differences = Difference.objects.bulk_create([_difference(own), _difference(other)])
    processes.report("test/worker", kind="worker", code_version="test")
    return World(
        own,
        other,
        users,
        {
            "client_id": {"own": str(own.id), "other": str(other.id), "missing": str(MISSING)},
            "run_id": {**runs, "missing": str(MISSING)},
            "preset_id": {**presets, "missing": "c" * 64},
            "run_hash": {**backtests, "missing": "3" * 64},
            "promotion_id": {**_ids(promotions), "missing": str(MISSING)},
            "sweep_hash": {**sweeps, "missing": "6" * 64},
            "name": dict.fromkeys(("own", "other", "missing"), "manifest.json"),
            "order_id": {**_ids(orders), "missing": str(MISSING)},
            "difference_id": {**_ids(differences), "missing": str(MISSING)},
            "job": {"own": "sample-one", "other": "sample-one", "missing": "no-such-job"},
        },
    )


def _ids(rows: list[Any]) -> dict[str, str]:
    return {whose: str(row.id) for whose, row in zip(("own", "other"), rows, strict=True)}


def _order(client: Client) -> Order:
    return Order(
        client=client, run_id=uuid4(), sequence=1, client_order_id=f"c-{client.id}"[:64], broker="paper", symbol="AAA",
        side="buy", quantity=1, reference_price=1, previous_price=1, state="intended",
    )  # fmt: skip


def _difference(client: Client) -> Difference:
    now = datetime.now(UTC)
    return Difference(
        client=client, broker="paper", kind="position", symbol="AAA", subject="AAA", ours="1", theirs="2", quantity=1,
        found_at=now, seen_at=now,
    )  # fmt: skip


def headers_of(world: World, sender: str, url: str, body: bytes) -> dict[str, str]:
    if sender in world.users:
        return bearer(world.users[sender])
    if sender in KEYS:
        return {KEY_HEADERS[Holder(sender)]: getattr(settings, KEYS[Holder(sender)])}
    if sender == Holder.TASK_SIGNATURE:
        return signed(url, body)
    if sender == "anonymous":
        return {}
    claims = {"sub": str(world.users[Role.OWNER].pk), "aud": settings.JWT_AUDIENCE, "exp": int(time.time()) + 60}
    if sender == "expired":
        return bearer(jwt.encode({**claims, "exp": int(time.time()) - 60}, settings.JWT_SECRET, algorithm="HS256"))
    return bearer(jwt.encode(claims, "z" * 40, algorithm="HS256"))


def ask(world: World, route: Route, verb: str, sender: str, whose: str = "own") -> Any:
    """The answer to ``sender``, from elsewhere than this machine, which is nobody in particular for `/metrics`."""
    url = "/" + PARAMETER.sub(lambda found: world.ids[found.group(1)][whose], route.path)
    place = PLACES[route.path]
    body = b"" if place.body is None or verb == "GET" else _json(place.body)
    http = Http(raise_request_exception=False, enforce_csrf_checks=True)
    return http.generic(
        verb, url, body, content_type=JSON, headers=headers_of(world, sender, url, body), REMOTE_ADDR="203.0.113.9"
    )


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def is_read_by_itself(route: Route) -> bool:
    """Whether the view looks at no credentials at all, good or bad."""
    return getattr(getattr(route.view, "view_class", None), "authentication_classes", None) == ()


def expected(route: Route, verb: str, sender: str) -> int:
    """From the table of permissions alone."""
    needed, place = route.needs[verb], PLACES[route.path]
    holder = {"other_owner": Role.OWNER, "anonymous": Holder.ANYBODY}.get(sender, sender)
    if needed == Permission.OPEN:
        return 401 if holder in ("expired", "forged") and not is_read_by_itself(route) else place.answers[verb]
    if sender in ("anonymous", "expired", "forged"):
        return 401
    if sender == Holder.TASK_SIGNATURE or Holder.TASK_SIGNATURE in HOLDERS[needed]:
        return place.answers[verb] if holder in HOLDERS[needed] else 401  # it is looked at nowhere else
    if Holder.LOOPBACK in HOLDERS[needed]:
        return place.answers[verb] if sender in HOLDERS[needed] and sender in Holder else 401  # /metrics has its own
    if holder not in HOLDERS[needed]:
        return 403
    if sender == "other_owner" and OF_A_CLIENT.search(route.path):
        return 404  # the ids are the own client's
    return place.but.get((verb, sender), place.answers[verb])


def cell(route: Route, *more: Any) -> Any:
    """In transactions of its own where the view lets go of its connection, or asks a venue, which it may in none."""
    own = "events" in route.path or "broker" in route.path
    return pytest.param(route, *more, marks=pytest.mark.django_db(transaction=own))


CELLS = [(route, verb) for route in ROUTES for verb in route.needs]


def named(value: Any) -> str:
    return f"/{value.path}" if isinstance(value, Route) else str(value)


@pytest.mark.parametrize("sender", SENDERS)
@pytest.mark.parametrize(("route", "verb"), [cell(*each) for each in CELLS], ids=named)
def test_each_is_answered_what_the_table_says(world: World, route: Route, verb: str, sender: str) -> None:
    answer = ask(world, route, verb, sender)
    assert answer.status_code == expected(route, verb, sender), _text(answer)
    if answer.status_code == 401:
        assert answer["WWW-Authenticate"]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("route", [cell(route) for route in ROUTES], ids=named)
def test_a_verb_that_is_not_declared_does_nothing(world: World, route: Route, verb: str) -> None:
    if verb in route.needs:
        return
    before = JobRun.objects.count(), Preset.objects.count(), User.objects.count()
    for sender in ("anonymous", Role.OWNER, Role.OPERATOR):
        answer = ask(world, route, verb, sender)
        assert answer.status_code in (401, 403, 405), _text(answer)
    assert before == (JobRun.objects.count(), Preset.objects.count(), User.objects.count())


WITH_IDS = [(route, verb) for route, verb in CELLS if OF_A_CLIENT.search(route.path)]


@pytest.mark.parametrize("role", [Role.READ_ONLY, Role.TRADER, Role.OWNER])
@pytest.mark.parametrize(("route", "verb"), [cell(*each) for each in WITH_IDS], ids=named)
def test_another_client_s_id_is_one_that_does_not_exist(world: World, route: Route, verb: str, role: Role) -> None:
    other, missing = (ask(world, route, verb, role, whose) for whose in ("other", "missing"))
    assert other.status_code == missing.status_code == (404 if role in HOLDERS[route.needs[verb]] else 403)
    assert shown(other) == shown(missing), "not a byte tells them apart but the request's id"
    for secret in world.ids["client_id"]["other"], "Other":
        assert secret not in _text(other)


def shown(answer: Any) -> tuple[Any, ...]:
    headers = sorted((name, value) for name, value in answer.headers.items() if name != "X-Request-ID")
    return answer.status_code, headers, answer.content


def _text(answer: Any) -> str:
    return "a stream" if getattr(answer, "streaming", False) else answer.content[:500].decode()


BODIES_AND_FILTERS: dict[str, Callable[[World, str], Any]] = {
    "filter": lambda world, value: Http().get(
        "/jobs/runs", {"client_id": value}, headers=bearer(world.users[Role.OWNER])
    ),
    "body of parameters": lambda world, value: Http().post(
        f"/clients/{world.own.id}/agent/parameters",
        {"client_id": value, "strategy": {"max_orders": 1}},
        content_type=JSON,
        headers=bearer(world.users[Role.OWNER]),
    ),
    "body of a preset": lambda world, value: Http().post(
        "/presets",
        {"client_id": value, "name": "x", "config": {}},
        content_type=JSON,
        headers=bearer(world.users[Role.OWNER]),
    ),
}


@pytest.mark.django_db
@pytest.mark.parametrize("ask_with", BODIES_AND_FILTERS.values(), ids=BODIES_AND_FILTERS.keys())
def test_nor_is_it_in_bodies_and_filters(world: World, ask_with: Callable[[World, str], Any]) -> None:
    kind = "client_id"
    answers = [ask_with(world, world.ids[kind][whose]) for whose in ("other", "missing")]
    texts = [answer.content.replace(world.ids[kind][whose].encode(), b"ID") for answer, whose in
             zip(answers, ("other", "missing"), strict=True)]  # fmt: skip
    assert answers[0].status_code == answers[1].status_code
    assert texts[0] == texts[1]
    assert b"Other" not in texts[0]


@pytest.mark.django_db
def test_lists_hold_the_own_client_s_rows_alone(world: World) -> None:
    for url, kind in (("/jobs/runs", "run_id"), ("/presets", "preset_id"), ("/runs", "run_hash")):
        for role in (Role.READ_ONLY, Role.TRADER, Role.OWNER):
            text = Http().get(url, headers=bearer(world.users[role])).content.decode()
            assert world.ids[kind]["own"] in text
            assert world.ids[kind]["other"] not in text
            assert str(world.other.id) not in text


PAGES = [route for route in routes() if route.path.startswith("app/") and route.needs]
OF_ROWS = [
    route for route in PAGES if re.search("run_id|run_hash|sweep_hash|promotion_id|order_id|difference_id", route.path)
]
PAGE_VALUES = {"broker": "paper"}


def page_url(world: World, route: Route, whose: str) -> str:
    return "/" + PARAMETER.sub(
        lambda found: world.ids.get(found.group(1), {}).get(whose) or PAGE_VALUES[found.group(1)], route.path
    )


@pytest.mark.parametrize("sender", ["anonymous", *Role.values])
@pytest.mark.parametrize("route", [cell(route) for route in PAGES], ids=named)
def test_pages_keep_to_the_same_table(world: World, route: Route, sender: str) -> None:
    for verb, needed in route.needs.items():
        browser = Http(raise_request_exception=False)
        if sender != "anonymous":
            browser.force_login(world.users[sender])
        answer = browser.generic(verb, page_url(world, route, "own"))
        if needed in (Permission.OPEN, Permission.ONBOARD):
            assert answer.status_code in (200, 404), "onboarding: there while it is open"
        elif sender == "anonymous":
            assert answer.status_code == 302
            assert answer["Location"].startswith("/login?next=")
        elif sender in HOLDERS[needed]:
            assert answer.status_code not in (401, 403, 500), _text(answer)
        else:
            assert answer.status_code == 403


@pytest.mark.django_db
@pytest.mark.parametrize("route", OF_ROWS, ids=named)
def test_another_client_s_page_is_one_that_does_not_exist(world: World, route: Route) -> None:
    for verb in route.needs:
        browser = Http(raise_request_exception=False)
        browser.force_login(world.users[Role.OWNER])
        other, missing = (browser.generic(verb, page_url(world, route, whose)) for whose in ("other", "missing"))
        assert other.status_code == missing.status_code == 404
        assert other.content == missing.content


def test_what_is_not_in_the_matrix_is_named() -> None:
    """Beside the API's routes and the pages there are these, and the admin's, which test_permissions.py walks."""
    rest = {route.path for route in routes() if route.is_page and not route.is_admin} - {route.path for route in PAGES}
    assert rest == NOT_IN_THE_API


@pytest.fixture(autouse=True)
def _closed(settings: Settings) -> None:
    settings.ALLOW_SELF_ONBOARDING = False
