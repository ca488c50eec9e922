"""What is recorded of what the platform does: each act once, in the right chain, under the right name."""

import hashlib
import hmac
import json
import time
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.conf import settings
from django.contrib import admin
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now
from django.test import Client as Http
from django.test import RequestFactory
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from tests.execution.conftest import Venue, buy, intend, make_market
from trading.audit import receivers
from trading.audit.models import PLATFORM, SWITCHES, AuditEntry
from trading.brokers.services import open_paper_account
from trading.core.trail import happened, tell
from trading.execution import services as execution
from trading.execution.models import Order
from trading.jobs import runner, services
from trading.jobs.models import JobQueue, JobRun
from trading.jobs.states import State
from trading.risk.models import Guard
from trading.risk.switches import set_switches
from trading.tenants.models import Client, Role, User
from trading.tenants.tokens import issue_access_token

PASSWORD = "a long enough password"


def told(client: Client | None = None, chain: Any = PLATFORM) -> list[tuple[str, str, str]]:
    """Action, actor and subject of each entry of a chain, oldest first."""
    entries = AuditEntry.objects.filter(chain=client.id if client else chain).order_by("sequence")
    return [(entry.action, entry.actor, entry.subject) for entry in entries]


@pytest.fixture(autouse=True)
def _rows(transactional_db: None) -> None:
    Guard.objects.get_or_create(id=1)
    for name in ("critical", "default", "bulk"):
        JobQueue.objects.get_or_create(name=name)


@pytest.fixture
def operator(transactional_db: None) -> User:
    return User.objects.create_user(
        "ops", password=PASSWORD, role=Role.OPERATOR, is_staff=True, is_superuser=True, client=None
    )


@pytest.fixture
def ann(desk: Client) -> User:
    return User.objects.create_user("ann", password=PASSWORD, client=desk, role=Role.OWNER)


@pytest.fixture
def site(operator: User) -> Http:
    http = Http()
    http.force_login(operator)
    return http


class TestOrders:
    @pytest.fixture
    def desk(self, desk: Client) -> Client:
        open_paper_account(desk.id, cash=Decimal(10_000))
        make_market({"AAA": (100, 100)})
        return desk

    def test_an_order_that_is_filled(self, desk: Client) -> None:
        (order,) = intend(desk, buy("2"))
        execution.submit(order, Venue(), hold=execution.in_transaction)
        assert told(desk) == [
            ("order.sent", "system", f"order:{order.id}"),
            ("order.filled", "system", f"order:{order.id}"),
            ("order.ended", "system", f"order:{order.id}"),
        ]
        fill = AuditEntry.objects.get(action="order.filled").data
        assert {name: fill[name] for name in ("quantity", "price", "fee", "symbol", "side")} == {
            "quantity": "2", "price": "100", "fee": "0.5", "symbol": "AAA", "side": "buy",
        }  # fmt: skip
        assert AuditEntry.objects.get(action="order.ended").data["state"] == "filled"

    def test_an_answer_that_comes_twice_is_told_once(self, desk: Client) -> None:
        venue = Venue()
        (order,) = intend(desk, buy("2"))
        execution.submit(order, venue, hold=execution.in_transaction)
        before = told(desk)
        report = venue.order(order.client_order_id, symbol="AAA")
        assert report is not None
        execution.record(Order.objects.get(), report, hold=execution.in_transaction)
        assert told(desk) == before

    def test_a_lost_answer_is_unknown_once_until_the_venue_is_asked(self, desk: Client) -> None:
        venue = Venue(fails=["lost answer"], deduplicates=False)
        (order,) = intend(desk, buy("2"))
        order = execution.submit(order, venue, hold=execution.in_transaction)
        assert [action for action, _, _ in told(desk)] == ["order.sent", "order.unknown"]
        execution.submit(order, venue, hold=execution.in_transaction)
        assert [action for action, _, _ in told(desk)][2:] == ["order.filled", "order.ended"]

    def test_a_refusal_names_the_limit_its_value_and_the_order_s(self, desk: Client) -> None:
        (order,) = intend(desk, buy("20"))
        assert told(desk) == [("risk.refused", "system", f"order:{order.client_order_id}")]
        data = AuditEntry.objects.get().data
        assert data["limit"] == "QT_MAX_NOTIONAL_PER_TRADE"
        assert (Decimal(data["limit_value"]), Decimal(data["order_value"])) == (1000, 2000)
        assert (data["side"], data["symbol"], data["quantity"], data["price"]) == ("buy", "AAA", "20", "100")

    def test_what_is_rolled_back_is_not_told(self, desk: Client) -> None:
        with transaction.atomic():
            execution.intend(desk.id, uuid4(), [buy("20")], broker="venue", quotes={})
            transaction.set_rollback(True)
        assert told(desk) == []


class TestSwitches:
    def test_a_halt_is_told_to_every_client_and_kept_in_a_chain_of_its_own(self, desk: Client, other: Client) -> None:
        gone = Client.objects.create(name="Gone", is_active=False)
        set_switches(halted=True, reason="drill", by="ops")
        set_switches(halted=False, by="ops")
        set_switches(kill_switch=True, by="ops")
        actions = ["halt.enabled", "halt.lifted", "kill_switch.enabled"]
        for entries in (told(chain=SWITCHES), told(desk), told(other)):
            assert [action for action, _, _ in entries] == actions
        assert told(gone) == []
        assert AuditEntry.objects.filter(chain=SWITCHES).order_by("sequence")[0].data == {
            "reason": "drill",
            "by": "ops",
        }

    def test_a_halt_waits_for_no_other_entry(self, desk: Client, other: Client) -> None:
        """Somebody holds the platform's chain and a client's; the halt holds and returns all the same."""
        tell("test.first")
        tell("test.first", client_id=desk.id)
        target = connection.settings_dict
        holder = psycopg.connect(host=target["HOST"], port=target["PORT"], dbname=target["NAME"], user=target["USER"])
        holder.execute("SELECT 1 FROM audit_heads FOR UPDATE")
        try:
            began = time.monotonic()
            set_switches(halted=True, by="ops")
            assert time.monotonic() - began < 8, "less than any lock_timeout of the settings"
        finally:
            holder.close()
        assert Guard.objects.get().halted
        assert [action for action, _, _ in told(chain=SWITCHES)] == ["halt.enabled"]
        assert [action for action, _, _ in told(other)] == ["halt.enabled"]


class TestRuns:
    def test_retry_and_cancel_are_told_once_with_who_asked(self, desk: Client, ann: User) -> None:
        run = services.enqueue("execution-cycle", client_id=desk.id).run
        JobRun.objects.filter(id=run.id).update(state=State.FAILED, finished_at=Now())
        token = issue_access_token(ann)
        http = Http(headers={"Authorization": f"Bearer {token}"})
        assert http.post(f"/jobs/runs/{run.id}/retry").status_code == 202
        assert http.post(f"/jobs/runs/{run.id}/cancel").status_code == 202
        assert http.post(f"/jobs/runs/{run.id}/cancel").status_code == 409
        assert told(desk) == [
            ("job_run.retried", f"user:{ann.pk}", f"job_run:{run.id}"),
            ("job_run.cancelled", f"user:{ann.pk}", f"job_run:{run.id}"),
        ]
        assert all(entry.request_id for entry in AuditEntry.objects.all())

    def test_a_signed_task(self, desk: Client) -> None:
        def post(body: dict[str, Any]) -> Any:
            text, stamp = json.dumps(body), str(int(time.time()))
            path = "/internal/tasks/execution-cycle"
            said = f"{stamp}\nPOST\n{path}\n{text}".encode()
            signature = hmac.new(settings.TASK_SIGNING_SECRET[0].encode(), said, hashlib.sha256).hexdigest()
            headers = {"X-Task-Timestamp": stamp, "X-Task-Signature": signature}
            return Http().post(path, text, content_type="application/json", headers=headers)

        answer = post({"client_id": str(desk.id)})
        assert told(desk) == [("job_run.enqueued", "task_signature", f"job_run:{answer.json()['run_id']}")]
        assert post({"client_id": str(uuid4())}).status_code == 422
        assert AuditEntry.objects.count() == 1, "what is refused starts nothing"

    def test_what_a_job_does_is_told_as_the_job_s(self, desk: Client) -> None:
        open_paper_account(desk.id, cash=Decimal(10_000))
        make_market(dict.fromkeys(settings.QUANTUM_TRADER_SYMBOLS, (100, 101)))
        run = services.enqueue("execution-cycle", client_id=desk.id).run
        for _ in range(8):
            runner.execute(run.id, worker="test", code_version="test")
        assert {actor for _, actor, _ in told(desk)} <= {"job:execution-cycle"}

    def test_queues(self, operator: User) -> None:
        services.pause("bulk", by="ops")
        services.resume("bulk")
        assert told() == [("queue.paused", "system", "queue:bulk"), ("queue.resumed", "system", "queue:bulk")]


class TestAdmin:
    def test_an_addition_a_change_and_a_deletion(self, site: Http) -> None:
        def newest() -> AuditEntry:
            return AuditEntry.objects.filter(chain=PLATFORM).order_by("-sequence")[0]

        assert site.post("/admin/tenants/client/add/", {"name": "New desk", "is_active": "on"}).status_code == 302
        client = Client.objects.get(name="New desk")
        entry = AuditEntry.objects.get(chain=client.id)
        assert (entry.action, entry.actor, entry.subject) == (
            "admin.client.added", "operator:ops", f"tenants.client:{client.id}",
        )  # fmt: skip
        assert entry.data["values"] == {"name": "New desk", "is_active": "True"}
        site.post(f"/admin/tenants/client/{client.id}/change/", {"name": "New desk"})
        changed = AuditEntry.objects.get(action="admin.client.changed")
        assert changed.data["object"] == "New desk"
        assert changed.data["change"] == [{"changed": {"fields": ["Is active"]}}]
        assert changed.data["values"] == {"is_active": "False"}
        interval = IntervalSchedule.objects.create(every=7, period=IntervalSchedule.SECONDS)
        site.post(f"/admin/django_celery_beat/intervalschedule/{interval.pk}/delete/", {"post": "yes"})
        assert newest().action == "admin.interval.deleted"

    def test_a_change_that_cannot_be_recorded_is_not_made(self, site: Http, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*args: object, **kwargs: object) -> None:
            raise IntegrityError("the log is away")

        monkeypatch.setattr(receivers, "record", fail)
        with pytest.raises(IntegrityError):
            site.post("/admin/tenants/client/add/", {"name": "New desk", "is_active": "on"})
        assert not Client.objects.filter(name="New desk").exists()

    def test_operations(self, site: Http) -> None:
        site.post("/admin/jobs/jobqueue/bulk/pause/", {"confirmed": "yes"})
        site.post("/admin/risk/guard/1/halt/", {"confirmed": "yes"})
        assert told() == [
            ("queue.paused", "operator:ops", "queue:bulk"),
            ("admin.queue.changed", "operator:ops", "jobs.jobqueue:bulk"),
            ("admin.guard.changed", "operator:ops", "risk.guard:1"),
        ]
        assert told(chain=SWITCHES) == [("halt.enabled", "operator:ops", "guard:1")]

    def test_the_schedule(self, site: Http) -> None:
        interval = IntervalSchedule.objects.create(every=7, period=IntervalSchedule.SECONDS)
        entry = PeriodicTask.objects.create(name="mine", task="job-rescue", interval=interval)
        site.post(f"/admin/django_celery_beat/periodictask/{entry.pk}/disable/", {"confirmed": "yes"})
        assert told()[0] == ("schedule.disabled", "operator:ops", "schedule:mine")
        fields = {"name": "mine", "task": "job-rescue", "interval": interval.pk, "kwargs": "{}"}
        assert site.post(f"/admin/django_celery_beat/periodictask/{entry.pk}/change/", fields).status_code == 302
        assert told()[-1][0] == "admin.periodic_task.changed"

    def test_a_password_is_changed_without_its_trace(self, site: Http, ann: User) -> None:
        given = {"password1": "canary-pass-8271", "password2": "canary-pass-8271", "usable_password": "true"}
        assert site.post(f"/admin/tenants/user/{ann.pk}/password/", given).status_code == 302
        (entry,) = AuditEntry.objects.all()
        assert (entry.action, entry.client_id) == ("admin.user.changed", ann.client_id)
        assert "canary" not in json.dumps(entry.contents)

    def test_who_was_made_what_is_told_but_no_password(self, site: Http, desk: Client) -> None:
        given = {"username": "new", "role": "trader", "client": str(desk.id)}
        password = {"password1": "canary-pass-8271", "password2": "canary-pass-8271", "usable_password": "true"}
        assert site.post("/admin/tenants/user/add/", {**given, **password}).status_code == 302
        added = AuditEntry.objects.get(action="admin.user.added").data
        assert (added["values"]["username"], added["values"]["role"]) == ("new", "trader")
        assert added["values"]["client"] == str(desk.id)
        assert added["values"]["password"] == "[hidden]"
        user = User.objects.get(username="new")
        given = {"username": "new", "role": "owner", "client": str(desk.id), "is_active": "on"}
        assert site.post(f"/admin/tenants/user/{user.pk}/change/", given).status_code == 302
        assert AuditEntry.objects.get(action="admin.user.changed").data["values"] == {"role": "owner"}

    def test_nothing_is_deleted_in_bulk_as_that_is_not_recorded(self, operator: User) -> None:
        request = RequestFactory().get("/admin/")
        request.user = operator
        for model_admin in admin.site._registry.values():
            assert "delete_selected" not in model_admin.get_actions(request), model_admin


def test_telling_with_nobody_listening_is_an_error(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(happened, "receivers", [])
    with pytest.raises(RuntimeError, match="audit log"):
        tell("test.done")


class TestLogins:
    def log_in(self, name: str, password: str) -> int:
        given = {"username": name, "password": password}
        return Http().post("/auth/login", given, content_type="application/json").status_code

    def test_a_success_is_in_the_client_s_chain(self, ann: User, desk: Client) -> None:
        assert self.log_in("ann", PASSWORD) == 200
        assert told(desk) == [("login.succeeded", f"user:{ann.pk}", f"user:{ann.pk}")]
        assert AuditEntry.objects.get().data == {"address": "127.0.0.1"}

    def test_an_operator_s_is_in_the_platform_s(self, operator: User) -> None:
        Http().post("/login", {"username": "ops", "password": PASSWORD})
        assert told() == [("login.succeeded", "operator:ops", f"user:{operator.pk}")]

    def test_failures_are_told_each_and_a_lock_out_once(self, ann: User, desk: Client) -> None:
        assert [self.log_in("ann", "wrong") for _ in range(9)] == [401] * 5 + [429] * 4
        assert told(desk) == [("login.failed", "anonymous", f"user:{ann.pk}")] * 5 + [
            ("login.locked", "anonymous", f"user:{ann.pk}")
        ]

    def test_a_password_typed_where_the_name_belongs_is_not_kept(self, ann: User) -> None:
        self.log_in(PASSWORD, "ann")
        (entry,) = AuditEntry.objects.filter(chain=PLATFORM)
        assert PASSWORD not in json.dumps(entry.contents)
        assert len(entry.data["name_fingerprint"]) == 16

    def test_a_stolen_refresh_token_ends_the_login_and_is_told(self, ann: User, desk: Client) -> None:
        given = {"username": "ann", "password": PASSWORD}
        first = Http().post("/auth/login", given, content_type="application/json").json()["refresh_token"]
        for status in (200, 401):
            answer = Http().post("/auth/refresh", {"refresh_token": first}, content_type="application/json")
            assert answer.status_code == status
        assert told(desk)[1:] == [("login.ended", "anonymous", f"user:{ann.pk}")]
        assert AuditEntry.objects.get(action="login.ended").data == {"why": "reuse"}
