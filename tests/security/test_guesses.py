"""Guessed passwords, keys and tokens: slow for the guesser, and no way to keep others out for ever."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.conf import settings as configured
from django.db import connection
from django.db.models import F
from django.test import Client as Http
from django.test import RequestFactory
from django.utils import timezone
from pytest_django import Settings

from tests.security.conftest import JSON, PASSWORD, bearer, log_in, refused
from trading.core import throttle
from trading.core.peers import address_of
from trading.tenants import login
from trading.tenants.models import Client, KnownAddress, LoginFailures, Role, User

pytestmark = pytest.mark.django_db
ELSEWHERE = "203.0.113.7"


@pytest.fixture(autouse=True)
def _limits(settings: Settings) -> Iterator[None]:
    """A few a minute, counted in a minute that does not end during a test."""
    settings.QT_RATE_USER, settings.QT_RATE_CLIENT = 8, 12
    settings.QT_RATE_ADDRESS, settings.QT_RATE_REFUSED = 10, 5
    with redis.Redis.from_url(settings.REDIS_URL) as server:
        server.flushdb()
        yield
        server.flushdb()
    throttle._away_until = 0.0


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle.time, "time", lambda: 1_800_000_000.0)


def attempt(username: str, password: str, address: str = ELSEWHERE, **headers: str) -> int:
    answer = log_in(Http(), username, password, REMOTE_ADDR=address, headers=headers)
    if answer.status_code >= 400:
        refused(answer, answer.status_code)
    return answer.status_code


class TestPasswords:
    @pytest.fixture(autouse=True)
    def _unthrottled(self, settings: Settings) -> None:
        settings.QT_RATE_ADDRESS = settings.QT_RATE_REFUSED = 0

    def test_the_sixth_is_locked_out_also_with_the_right_password(self, ann: User) -> None:
        assert [attempt("ann", "wrong") for _ in range(5)] == [401] * 5
        assert attempt("ann", PASSWORD) == 429
        assert attempt("ANN", PASSWORD) == 429, "however it is written"

    def test_forging_x_forwarded_for_changes_nothing(self, ann: User) -> None:
        statuses = [attempt("ann", "wrong", **{"X-Forwarded-For": f"198.51.100.{n}"}) for n in range(8)]
        assert statuses == [401] * 5 + [429] * 3
        statuses = [attempt(f"name-{n}", "wrong", **{"X-Real-IP": f"198.51.100.{n}"}) for n in range(30)]
        assert 429 in statuses

    def test_one_password_for_many_names_is_locked_out_by_address(self, ann: User) -> None:
        statuses = [attempt(f"user-{n}", "Summer2026!") for n in range(31)]
        assert statuses == [401] * 30 + [429]
        assert attempt("ann", PASSWORD, "203.0.113.8") == 200

    def test_an_ipv6_customer_has_one_address(self, ann: User) -> None:
        statuses = [attempt("ann", "wrong", f"2001:db8::{n:x}") for n in range(6)]
        assert statuses == [401] * 5 + [429]
        assert attempt("ann", PASSWORD, "2001:db8:0:1::1") == 200

    def test_a_stranger_locks_nobody_out_where_they_are_at_home(self, ann: User) -> None:
        assert attempt("ann", PASSWORD, "192.0.2.1") == 200
        statuses = [attempt("ann", "wrong", f"198.51.{n // 4}.{n % 4}") for n in range(60)]
        assert statuses == [401] * 50 + [429] * 10
        assert attempt("ann", PASSWORD, "198.51.100.200") == 429, "from an address never seen"
        assert attempt("ann", PASSWORD, "192.0.2.1") == 200, "from where she has logged in before"
        KnownAddress.objects.update(seen_at=timezone.now() - login.KNOWN_FOR)
        assert attempt("ann", PASSWORD, "192.0.2.1") == 429, "longer ago than is remembered"

    def test_it_is_over_after_a_quarter_of_an_hour_however_often_was_tried(self, ann: User) -> None:
        for _ in range(20):
            attempt("ann", "wrong")
        answer = log_in(Http(), REMOTE_ADDR=ELSEWHERE)
        detail = refused(answer, 429, "too_many_attempts")
        assert "Wait 15 minutes" in detail["message"]
        assert 890 <= int(answer["Retry-After"]) <= 900
        LoginFailures.objects.update(since=F("since") - login.WINDOW)
        assert attempt("ann", PASSWORD) == 200

    def test_logging_in_rightly_uses_nothing_up(self, ann: User) -> None:
        assert [attempt("ann", PASSWORD) for _ in range(40)] == [200] * 40

    def test_what_is_typed_is_not_kept(self, ann: User) -> None:
        attempt("my password by mistake", "x")
        assert "mistake" not in "".join(LoginFailures.objects.values_list("key", flat=True))

    def test_an_unknown_name_and_a_wrong_password_look_alike(self, ann: User) -> None:
        answers = {log_in(Http(), name, "wrong").content for name in ("ann", "nobody")}
        assert len(answers) == 1

    def test_old_counts_and_addresses_are_forgotten(self, ann: User) -> None:
        attempt("ann", "wrong")
        attempt("ann", PASSWORD, "192.0.2.1")
        assert login.forget() == 0
        LoginFailures.objects.update(since=timezone.now() - login.WINDOW)
        KnownAddress.objects.update(seen_at=timezone.now() - login.KNOWN_FOR)
        login.forget()
        assert not LoginFailures.objects.exists()
        assert not KnownAddress.objects.exists()

    @pytest.mark.django_db(transaction=True)
    def test_guesses_at_the_same_time_count_too(self, ann: User) -> None:
        start = threading.Barrier(12)
        statuses: list[int] = []

        def guess() -> None:
            start.wait()
            statuses.append(attempt("ann", "wrong"))
            connection.close()

        threads = [threading.Thread(target=guess) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [401] * 5 + [429] * 7

    def test_the_lock_out_holds_while_redis_is_away(self, ann: User, settings: Settings) -> None:
        settings.REDIS_URL = "redis://127.0.0.1:1/0"
        settings.QT_RATE_ADDRESS = settings.QT_RATE_REFUSED = 5
        assert [attempt("ann", "wrong") for _ in range(7)] == [401] * 5 + [429] * 2


GUESSED = [
    ("GET", "/jobs/runs", "X-Cron-Secret", "CRON_SECRET"),
    ("GET", "/jobs/runs", "X-Admin-Key", "ADMIN_API_KEY"),
    ("GET", "/jobs/runs", "X-Admin-Token", "QT_ADMIN_TOKEN"),
]


@pytest.mark.usefixtures("still")
class TestKeys:
    @pytest.mark.parametrize(("method", "path", "header", "setting"), GUESSED)
    def test_guesses_are_refused_and_then_too_many(self, method: str, path: str, header: str, setting: str) -> None:
        statuses = []
        for number in range(12):
            headers = {header: f"guess-{number}", "X-Forwarded-For": f"198.51.100.{number}"}
            answer = Http().generic(method, path, headers=headers, REMOTE_ADDR=ELSEWHERE)
            refused(answer, answer.status_code)
            statuses.append(answer.status_code)
        assert statuses == [401] * 5 + [429] * 7
        good = Http().generic(method, path, headers={header: getattr(configured, setting)}, REMOTE_ADDR=ELSEWHERE)
        assert good.status_code == (200 if header == "X-Cron-Secret" else 403), "the right one is never kept out"

    @pytest.mark.parametrize(("method", "path", "header", "setting"), GUESSED)
    def test_near_misses(self, method: str, path: str, header: str, setting: str, settings: Settings) -> None:
        settings.QT_RATE_REFUSED = 0
        right = getattr(configured, setting)
        others = [getattr(configured, name) for _, _, _, name in GUESSED if name != setting]
        for wrong in (right[:-1], right + "x", right.upper(), f"{right},{right}", "", "\xe4", *others):
            refused(Http().generic(method, path, headers={header: wrong}), 401, "not_authenticated")

    @pytest.mark.parametrize(("method", "path", "header", "setting"), GUESSED)
    @pytest.mark.parametrize("blank", ["", None])
    def test_a_blank_key_matches_nothing(
        self, method: str, path: str, header: str, setting: str, blank: Any, settings: Settings
    ) -> None:
        setattr(settings, setting, blank)
        for given in ("", " ", "None", "x"):
            refused(Http().generic(method, path, headers={header: given}), 401)

    def test_two_keys_at_once_are_refused(self) -> None:
        headers = {"X-Cron-Secret": configured.CRON_SECRET, "X-Admin-Key": configured.ADMIN_API_KEY}
        refused(Http().get("/jobs/runs", headers=headers), 401)

    def test_tokens_signatures_and_metrics_are_guessed_under_the_same_limit(self, ann: User) -> None:
        def ask(number: int) -> Any:
            http = Http(REMOTE_ADDR=ELSEWHERE)
            match number % 4:
                case 0:
                    return http.get("/jobs/runs", headers=bearer(f"a.b.{number}"))
                case 1:
                    return http.post("/internal/tasks/x", {}, content_type=JSON)
                case 2:
                    return http.get("/metrics", headers=bearer("x"))
                case _:
                    return http.post("/auth/refresh", {"refresh_token": "x"}, content_type=JSON)

        assert [ask(number).status_code for number in range(8)] == [401] * 5 + [429] * 3
        assert Http(REMOTE_ADDR=ELSEWHERE).get("/jobs/runs", headers=bearer(ann)).status_code == 200
        assert Http(REMOTE_ADDR="203.0.113.8").get("/jobs/runs", headers=bearer("x")).status_code == 401


@pytest.mark.usefixtures("still")
class TestRates:
    def test_a_user_s(self, ann: User) -> None:
        statuses = [Http().get("/jobs/runs", headers=bearer(ann)).status_code for _ in range(10)]
        assert statuses == [200] * 8 + [429] * 2
        answer = Http().get("/jobs/runs", headers=bearer(ann))
        refused(answer, 429, "too_many_requests")
        assert int(answer["Retry-After"]) == 60, "the minute has just begun at that time"

    def test_a_client_s_users_together(self, ann: User, desk: Client) -> None:
        bob = User.objects.create_user("bob", client=desk, role=Role.TRADER)
        other = Client.objects.create(name="Other")
        eve = User.objects.create_user("eve", client=other, role=Role.TRADER)
        users = [ann, bob] * 7
        statuses = [Http().get("/jobs/runs", headers=bearer(user)).status_code for user in users]
        assert statuses == [200] * 12 + [429] * 2
        assert Http().get("/jobs/runs", headers=bearer(eve)).status_code == 200

    def test_pages_count_too(self, ann: User) -> None:
        browser = Http()
        browser.force_login(ann)
        answers = [browser.get("/app/runs") for _ in range(9)]
        assert [answer.status_code for answer in answers] == [200] * 8 + [429]
        assert "text/html" in answers[-1]["Content-Type"]
        assert answers[-1]["Retry-After"]
        assert b"Too many requests" in answers[-1].content

    def test_an_address_s_while_nobody_has_logged_in(self, ann: User) -> None:
        statuses = [Http(REMOTE_ADDR=ELSEWHERE).get("/health").status_code for _ in range(12)]
        assert statuses == [200] * 10 + [429] * 2
        assert Http(REMOTE_ADDR=ELSEWHERE).get("/jobs/runs", headers=bearer(ann)).status_code == 200
        assert {Http().get("/health").status_code for _ in range(12)} == {200}, "probes of this machine"

    def test_another_minute_begins_anew(self) -> None:
        for second, expected in ((0, 60), (12.5, 48), (59.9, 1)):
            whom = f"somebody at {second}"
            assert throttle.wait_for("test", whom, 1, now=6_000 + second) is None
            assert throttle.wait_for("test", whom, 1, now=6_000 + second) == expected
            assert throttle.wait_for("test", whom, 1, now=6_060) is None

    def test_without_redis_all_but_logins_pass(self, ann: User, settings: Settings) -> None:
        settings.REDIS_URL = "redis://127.0.0.1:1/0"
        assert {Http().get("/jobs/runs", headers=bearer(ann)).status_code for _ in range(20)} == {200}
        refused_ones = {Http().get("/jobs/runs", headers=bearer("x")).status_code for _ in range(20)}
        assert refused_ones == {401}

    def test_nothing_is_counted_for_ever(self, ann: User) -> None:
        Http().get("/jobs/runs", headers=bearer(ann))
        with redis.Redis.from_url(configured.REDIS_URL) as server:
            keys = list(server.scan_iter("rate:*"))
            assert len(keys) == 2
            assert all(0 < server.ttl(key) <= 120 for key in keys)
            assert not any(b"ann" in key for key in keys)


PEERS: list[tuple[list[str], str, str | None, str]] = [
    ([], "203.0.113.7", None, "203.0.113.7"),
    ([], "203.0.113.7", "198.51.100.1", "203.0.113.7"),
    (["10.0.0.0/8"], "203.0.113.7", "198.51.100.1", "203.0.113.7"),
    (["10.0.0.0/8"], "10.0.0.2", "198.51.100.1", "198.51.100.1"),
    (["10.0.0.0/8"], "10.0.0.2", "1.1.1.1, 198.51.100.1", "198.51.100.1"),
    (["10.0.0.0/8"], "10.0.0.2", "1.1.1.1, 198.51.100.1, 10.0.0.3", "198.51.100.1"),
    (["10.0.0.0/8"], "10.0.0.2", "10.0.0.3", "10.0.0.3"),
    (["10.0.0.0/8"], "10.0.0.2", "nonsense", "10.0.0.2"),
    (["10.0.0.0/8"], "10.0.0.2", "198.51.100.1, nonsense", "10.0.0.2"),
    (["10.0.0.0/8"], "10.0.0.2", "", "10.0.0.2"),
    (["10.0.0.0/8"], "10.0.0.2", None, "10.0.0.2"),
    (["10.0.0.2"], "::ffff:10.0.0.2", "::ffff:198.51.100.1", "198.51.100.1"),
    (["fd00::/8"], "fd00::1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    ([], "", None, "local"),
    (["0.0.0.0/0"], "", "198.51.100.1", "local"),
]


@pytest.mark.parametrize(("trusted", "peer", "forwarded", "expected"), PEERS)
def test_whose_address_counts(
    trusted: list[str], peer: str, forwarded: str | None, expected: str, settings: Settings
) -> None:
    settings.TRUSTED_PROXIES = trusted
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    assert address_of(RequestFactory().get("/", REMOTE_ADDR=peer, headers=headers)) == expected


def test_an_answer_of_too_many_is_in_the_one_form(ann: User, settings: Settings) -> None:
    settings.QT_RATE_USER = 1
    for _ in range(3):
        answer = Http().get("/jobs/runs", headers=bearer(ann))
    body = json.loads(answer.content)
    assert set(body) == {"detail"}
    assert set(body["detail"]) == {"type", "message"}
