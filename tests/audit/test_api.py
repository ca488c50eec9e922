"""``GET /clients/{id}/audit``: a client's own log, and nobody else's."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client as Http
from django.test.utils import CaptureQueriesContext

from tests.audit.conftest import write
from trading.audit.canonical import digest
from trading.audit.models import AuditEntry
from trading.tenants.models import Client, Role, User
from trading.tenants.tokens import issue_access_token


def http_of(role: Role, client: Client | None) -> Http:
    user = User.objects.create_user(f"{role}-{uuid4()}", role=role, client=client)
    return Http(headers={"Authorization": f"Bearer {issue_access_token(user)}"})


@pytest.fixture
def ann(desk: Client) -> Http:
    return http_of(Role.READ_ONLY, desk)


def get(http: Http, client: Client, **query: str) -> Any:
    text = "&".join(f"{name}={quote(value)}" for name, value in query.items())
    return http.get(f"/clients/{client.id}/audit?{text}")


def sequences(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.content
    return [entry["sequence"] for entry in answer.json()["results"]]


def test_a_client_s_own_log_newest_first(ann: Http, desk: Client, other: Client) -> None:
    write(desk, 3)
    write(other, 2)
    write(None, 2)
    answer = get(ann, desk)
    assert sequences(answer) == [3, 2, 1]
    entry = AuditEntry.objects.get(chain=desk.id, sequence=3)
    shown = answer.json()["results"][0]
    assert shown == {**entry.contents, "hash": entry.hash}
    assert digest({name: value for name, value in shown.items() if name != "hash"}) == shown["hash"], "can be checked"


@pytest.mark.parametrize("role", [Role.READ_ONLY, Role.TRADER, Role.OWNER])
def test_another_client_s_is_as_if_it_did_not_exist(role: Role, desk: Client, other: Client) -> None:
    write(other)
    http = http_of(role, desk)
    unknown = http.get(f"/clients/{uuid4()}/audit")
    foreign = get(http, other)
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.json() == unknown.json()


def test_an_operator_sees_every_client_s(desk: Client) -> None:
    write(desk, 2)
    assert sequences(get(http_of(Role.OPERATOR, None), desk)) == [2, 1]


def test_nobody_and_the_scheduler_see_none(desk: Client) -> None:
    assert get(Http(), desk).status_code == 401
    assert get(Http(headers={"X-Cron-Secret": settings.CRON_SECRET}), desk).status_code == 403


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_nothing_can_be_written(ann: Http, desk: Client, method: str) -> None:
    assert getattr(ann, method)(f"/clients/{desk.id}/audit").status_code == 405


def test_pages_follow_each_other_without_gap_or_repetition(ann: Http, desk: Client) -> None:
    write(desk, 25)
    seen: list[int] = []
    address = f"/clients/{desk.id}/audit?limit=10"
    while address:
        answer = ann.get(address)
        seen += sequences(answer)
        write(desk)  # what comes meanwhile does not shift the pages
        address = answer.json()["next"]
    assert seen == list(range(25, 0, -1))


def test_filters(ann: Http, desk: Client) -> None:
    write(desk, 2, action="order.sent")
    between = write(desk, 1, action="risk.refused")[0].at
    write(desk, 2, action="order.sent")
    moment = (between + timedelta(milliseconds=1)).isoformat()
    assert sequences(get(ann, desk, action="order.sent")) == [5, 4, 2, 1]
    assert sequences(get(ann, desk, action="risk.refused")) == [3]
    assert sequences(get(ann, desk, action="nothing.such")) == []
    assert sequences(get(ann, desk, since=between.isoformat()))[-1] <= 3
    assert sequences(get(ann, desk, since=moment)) + sequences(get(ann, desk, until=moment)) == [5, 4, 3, 2, 1]
    assert sequences(get(ann, desk, since="1969-01-01T00:00:00Z")) == [5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    "query",
    [
        {"action": "a\x00b"}, {"action": "x" * 65}, {"since": "yesterday"}, {"until": "0001-01-01T00:00:00+14:00"},
        {"limit": "0"}, {"limit": "201"}, {"cursor": "x"}, {"actor": "x"}, {"since": "2026-13-01T00:00:00Z"},
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused(ann: Http, desk: Client, query: dict[str, str]) -> None:
    answer = get(ann, desk, **query)
    assert answer.status_code == 422
    assert answer.json()["detail"]["type"] == "validation_error"


def test_a_page_is_read_by_an_index(ann: Http, desk: Client) -> None:
    write(desk, 3)
    with CaptureQueriesContext(connection) as captured:
        assert get(ann, desk, action="test.done", since="2026-01-01T00:00:00Z").status_code == 200
    (sql,) = [query["sql"] for query in captured if 'FROM "audit_log"' in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        cursor.execute(f"EXPLAIN {sql}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
        cursor.execute("RESET enable_seqscan")
    assert "Index" in plan
    assert "Seq Scan" not in plan


class TestAdmin:
    @pytest.fixture
    def site(self, transactional_db: None) -> Http:
        http = Http()
        http.force_login(User.objects.create_user("ops", role=Role.OPERATOR, is_staff=True, is_superuser=True))
        return http

    def test_the_list_and_an_entry(self, site: Http, desk: Client) -> None:
        (entry,) = write(desk)
        write(None)
        page = site.get("/admin/audit/auditentry/")
        assert page.status_code == 200
        assert page.content.count(b"test.done") >= 2
        one = site.get(f"/admin/audit/auditentry/{entry.id}/change/")
        assert one.status_code == 200
        assert entry.hash.encode() in one.content
        assert b'name="_save"' not in one.content

    def test_filters(self, site: Http, desk: Client, other: Client) -> None:
        write(desk, 1, action="test.mine")
        write(other, 1, action="test.theirs")
        write(None, 1, action="test.platform")
        today = datetime.now(UTC).date()

        def found(query: str) -> set[str]:
            page = site.get(f"/admin/audit/auditentry/?{query}")
            assert page.status_code == 200, query
            rows = page.context["cl"].result_list
            return {row.action for row in rows}

        everything = {"test.mine", "test.theirs", "test.platform"}
        assert found("") == everything
        assert found(f"client__id__exact={desk.id}") == {"test.mine"}
        assert found("platform=platform") == {"test.platform"}
        assert found("platform=switches") == set()
        assert found("action=test.theirs") == {"test.theirs"}
        assert found("q=system") == everything
        assert found("q=operator:nobody") == set()
        assert found(f"q={AuditEntry.objects.get(action='test.mine').id}") == {"test.mine"}
        assert found(f"at_from={today}&at_to={today}") == everything
        assert found(f"at_from={today + timedelta(days=1)}") == set()
        assert found(f"at_to={today - timedelta(days=1)}") == set()
        assert found("at_from=9999-12-31&at_to=9999-12-31") == set()
        assert found("at_from=nonsense&at_to=0001-01-01") in (everything, set())

    def test_nothing_is_added_changed_or_deleted(self, site: Http, desk: Client) -> None:
        (entry,) = write(desk)
        assert site.get("/admin/audit/auditentry/add/").status_code == 403
        assert site.post(f"/admin/audit/auditentry/{entry.id}/change/", {"actor": "x"}).status_code == 403
        assert site.post(f"/admin/audit/auditentry/{entry.id}/delete/", {"post": "yes"}).status_code == 403
        assert list(AuditEntry.objects.values_list("actor", flat=True)) == ["system"]

    def test_the_list_is_neither_counted_nor_sorted_by_anything_but_its_key(self, site: Http, desk: Client) -> None:
        write(desk, 3)
        with CaptureQueriesContext(connection) as captured:
            site.get("/admin/audit/auditentry/?o=2")
        log = [query["sql"] for query in captured if '"audit_log"' in query["sql"]]
        assert not any("COUNT(" in sql for sql in log)
        assert any(sql.count("ORDER BY") == 1 and 'ORDER BY "audit_log"."id" DESC' in sql for sql in log)
