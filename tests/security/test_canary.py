"""A canary in every credential, password, token and key; then everything that was written down is searched for it."""

import base64
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
import structlog
from django.apps import apps
from django.conf import settings as platform
from django.contrib import admin
from django.core.cache import cache
from django.core.management import call_command
from django.template import Context, Template
from django.test import Client as Http
from django.urls import reverse
from pytest_django import Settings

from tests.brokers.lockbox import lockbox as lockbox
from tests.security.canaries import Traces, canary, everything_logged, report
from tests.security.conftest import bearer
from tests.security.routes import routes
from trading.brokers import accounts
from trading.brokers.models import BrokerAccount
from trading.core import redaction
from trading.core.encryption import keyring
from trading.jobs import runner, services
from trading.jobs.context import StepContext
from trading.jobs.models import JobAttempt, JobQueue, JobRun
from trading.jobs.registry import Job, NoArguments, Step, registry
from trading.risk.models import Guard
from trading.tenants.models import Client, Role, User

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("lockbox")]
JSON = "application/json"
HEADERS = ("X-Admin-Key", "X-Admin-Token", "X-Cron-Secret", "X-Task-Signature", "Authorization")


def open_a_session(ctx: StepContext, args: NoArguments) -> None:
    """A step that fails with whatever the venue, or its adapter, says."""
    assert ctx.client_id is not None
    with accounts.open_session(ctx.client_id, "lockbox") as session:
        session.balances()


JOB = Job(slug="sample-session", title="Opens a session", steps=(Step(open_a_session),), arguments=NoArguments,
          per_client=True, max_attempts=1)  # fmt: skip


@dataclass
class Secrets:
    """The canaries by what they stand for."""

    words: dict[str, str] = field(default_factory=dict)

    def new(self, name: str) -> str:
        """A canary for ``name``."""
        return self.words.setdefault(name, canary(name))

    def learnt(self, name: str, value: str) -> str:
        """A secret that the platform made."""
        self.words[name] = value
        return value


@pytest.fixture
def secrets(settings: Settings) -> Iterator[Secrets]:
    """The platform's own keys are canaries, made known as they are when a process starts."""
    found = Secrets()
    for name in ("JWT_SECRET", "SUPABASE_JWT_SECRET", "CRON_SECRET", "ADMIN_API_KEY", "QT_ADMIN_TOKEN"):
        setattr(settings, name, found.new(name))
    settings.ENCRYPTION_KEY = [found.new("ENCRYPTION_KEY new"), found.new("ENCRYPTION_KEY old")]
    settings.TASK_SIGNING_SECRET = [found.new("TASK_SIGNING_SECRET")]
    settings.FLOWER_BASIC_AUTH = f"admin:{found.new('FLOWER_BASIC_AUTH')}"
    kept = redaction._known.copy(), redaction._lasting.copy(), redaction._pattern
    apps.get_app_config("core").ready()
    registry.add(JOB)
    Guard.objects.get_or_create(id=1)
    for name in ("critical", "default", "bulk"):
        JobQueue.objects.get_or_create(name=name)
    yield found
    registry.remove(JOB.slug)
    redaction._known.clear()
    redaction._known.update(kept[0])
    redaction._lasting.clear()
    redaction._lasting.update(kept[1])
    redaction._pattern = kept[2]


@dataclass
class Life:
    """What happens on a platform, well and badly, with all that it answers kept."""

    secrets: Secrets
    traces: Traces
    venue: ModuleType
    http: Http = field(default_factory=lambda: Http(raise_request_exception=False))

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """A request, whose answer is kept."""
        return self.keep(path, getattr(self.http, method)(path, body, content_type=JSON, **options))

    def keep(self, path: str, answer: Any) -> Any:
        """Keep an answer with its headers."""
        if not answer.streaming:
            headers = [f"{name}: {value}" for name, value in answer.headers.items() if name.lower() != "set-cookie"]
            self.traces.add(f"answer {path}", "\n".join(headers))
            self.traces.add(f"answer {path}", answer.content)
        return answer

    def credentials(self, name: str, *, right: bool = True) -> dict[str, Any]:
        """An API key and secret of their own."""
        secret = self.secrets.new(f"{name} secret")
        if right:
            self.secrets.words[f"{name} secret"] = secret = f"{self.venue.RIGHT}-{secret}"
        return {"api_key": self.secrets.new(f"{name} key"), "api_secret": secret}

    def onboard(self) -> UUID:
        """Well, with every wrong that can be done before."""
        key = {"X-Admin-Key": platform.ADMIN_API_KEY}
        body = {"name": "Alpha", "username": "ann", "password": self.secrets.new("password"), "broker": "lockbox"}
        for wrong in (
            {"credentials": self.credentials("onboarding wrong", right=False)},
            {"credentials": {**self.credentials("onboarding host"), "host": "169.254.169.254"}},
            {"credentials": {**self.credentials("onboarding extra"), "more": self.secrets.new("extra value")}},
            {"credentials": {"api_key": [self.secrets.new("nested value")], "api_secret": 7}},
            {"credentials": self.secrets.new("bare value")},
            {"credentials": {}, "username": "a b", "password": self.secrets.new("refused password")},
        ):
            headers = {**key, "Idempotency-Key": "onboard-wrong"}
            assert self.ask("post", "/clients/onboard", {**body, **wrong}, headers=headers).status_code in (422, 502)
        self.ask("post", "/clients/onboard", body, headers={"X-Admin-Key": self.secrets.new("wrong admin key")})
        headers = {**key, "Idempotency-Key": "onboard"}
        good = {**body, "credentials": self.credentials("onboarding")}
        for _ in range(2):
            answer = self.ask("post", "/clients/onboard", good, headers=headers)
            assert answer.status_code == 201
        return UUID(answer.json()["client_id"])

    def log_in(self) -> str:
        """With wrong passwords before; a token. Its answer is meant for its owner, so it is not kept."""
        wrong = {"username": "ann", "password": self.secrets.new("wrong password")}
        self.ask("post", "/auth/login", wrong)
        self.keep("/login", self.http.post("/login", wrong))
        self.ask("post", "/auth/login", {"username": self.secrets.new("password as a name"), "password": ["x"]})
        given = {"username": "ann", "password": self.secrets.words["password"]}
        first = self.http.post("/auth/login", given, content_type=JSON).json()
        self.secrets.learnt("first access token", first["access_token"])
        refresh = {"refresh_token": self.secrets.learnt("first refresh token", first["refresh_token"])}
        second = self.http.post("/auth/refresh", refresh, content_type=JSON).json()
        self.secrets.learnt("second refresh token", second["refresh_token"])
        self.ask("post", "/auth/refresh", {"refresh_token": self.secrets.new("wrong refresh token")})
        for name in HEADERS:
            self.ask("get", "/jobs/runs", headers={name: f"Bearer {self.secrets.new(f'wrong {name}')}"})
        self.ask("get", f"/jobs/runs?token={self.secrets.new('token in a query')}")
        return self.secrets.learnt("second access token", second["access_token"])

    def connect(self, client_id: UUID, token: str) -> None:
        """Well, and with each failure that a venue and its adapter have."""
        path, headers = f"/clients/{client_id}/connect-broker", bearer(token)

        def send(credentials: dict[str, Any]) -> int:
            body = {"broker": "lockbox", "credentials": credentials}
            return int(self.ask("post", path, body, headers=headers).status_code)

        assert send(self.credentials("connect wrong", right=False)) == 502
        for fault, status in (("down", 503), ("crash", 500)):
            self.venue.FAULT[:] = [fault]
            assert send(self.credentials(f"connect {fault}")) == status
        self.venue.FAULT.clear()
        assert send({**self.credentials("connect host"), "host": "localhost"}) == 422
        assert send(self.credentials("connect")) == 200

    def work(self, client_id: UUID) -> None:
        """Runs and retests that fail with what the venue says."""
        for fault in ("down", "crash"):
            self.venue.FAULT[:] = [fault]
            run = services.enqueue(JOB.slug, client_id=client_id).run
            runner.execute(run.id, worker="test/hands", code_version="test")
            assert JobRun.objects.get(id=run.id).state == "failed"
        assert "ZeroDivisionError" in JobAttempt.objects.get(error_type="ZeroDivisionError").traceback
        self.venue.FAULT[:] = ["down"]
        account = accounts.retest(BrokerAccount.objects.get(), now=BrokerAccount.objects.get().tested_at)
        assert account.last_error
        self.venue.FAULT.clear()

    def look_everywhere(self, client_id: UUID, token: str) -> None:
        """Every route that is read, as the owner, as an operator and as nobody; every page of the admin."""
        operator = Http(raise_request_exception=False)
        operator.force_login(User.objects.create_user("op", role=Role.OPERATOR, is_staff=True, is_superuser=True))
        owner = Http(raise_request_exception=False)
        owner.force_login(User.objects.get(username="ann"))
        run = JobRun.objects.order_by("-id").values_list("id", flat=True).first()
        looked = 0
        for route in routes():
            path = "/" + route.path.replace("<uuid:client_id>", str(client_id)).replace("<uuid:run_id>", str(run))
            path = path.replace("<slug:broker>", "lockbox")
            if "<" in path or "(?P" in path or path.endswith(("/events", "/logout", "/logout/")):
                continue
            for browser, headers in ((owner, {}), (operator, {}), (self.http, bearer(token)), (self.http, {})):
                self.keep(path, browser.get(path, headers=headers))
                looked += 1
        assert looked > 100
        for model in tuple(admin.site._registry):
            name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
            self.keep(name, operator.get(reverse(f"{name}_changelist")))
            for row in model._default_manager.all()[:3]:
                self.keep(name, operator.get(reverse(f"{name}_change", args=[row.pk])))
        self.keep("form", owner.post("/app/brokers/lockbox", self.credentials("page wrong", right=False)))
        self.keep("form", owner.post("/app/brokers/lockbox", {"api_secret": self.secrets.new("page incomplete")}))
        assert owner.post("/app/brokers/lockbox", self.credentials("page")).status_code == 302
        change = {"password1": self.secrets.new("new password"), "password2": self.secrets.new("other password")}
        self.keep(
            "password", operator.post(f"/admin/tenants/user/{User.objects.get(username='ann').pk}/password/", change)
        )

    def export(self) -> None:
        """What commands print."""
        for command, options in (
            ("doctor", ["--json"]),
            ("rotate_encryption_key", ["--dry-run"]),
            ("rotate_encryption_key", []),
            ("verify_audit", []),
            ("verify_audit", ["--export"]),
            ("dumpdata", ["--exclude", "contenttypes", "--exclude", "auth.permission"]),
        ):
            out = StringIO()
            try:
                call_command(command, *options, stdout=out, stderr=out)
            except SystemExit:
                out.write("(found something)")
            self.traces.add(f"command {command}", out.getvalue())


@pytest.mark.timeout(300)
def test_no_secret_is_written_down_anywhere(
    secrets: Secrets, lockbox: ModuleType, capfd: pytest.CaptureFixture[str]
) -> None:
    traces, began = Traces(), time.time()
    life = Life(secrets, traces, lockbox)
    with everything_logged(traces):
        client_id = life.onboard()
        token = life.log_in()
        life.connect(client_id, token)
        life.work(client_id)
        life.look_everywhere(client_id, token)
        life.export()
    traces.add_redis()
    traces.add_tables()
    traces.add_files(platform.DATA.root, since=began - 1)
    printed = capfd.readouterr()
    traces.add("printed", printed.out + printed.err)
    assert len(secrets.words) > 40
    assert report(traces, secrets.words.items()) == []
    account = BrokerAccount.objects.get(client_id=client_id)
    assert (
        account.credentials in b"".join(piece for place, piece in traces.pieces if "broker_accounts" in place).decode()
    )
    assert account.key == keyring().primary


def test_what_is_written_down_is_found(secrets: Secrets, lockbox: ModuleType) -> None:
    """The search itself: a word that nobody calls secret is found in each place that it was put into."""
    traces, word, began = Traces(), canary("control"), time.time()
    shown = canary("context")
    life = Life(secrets, traces, lockbox)
    with everything_logged(traces):
        structlog.get_logger("quantum.test").debug("control", said=word)
        Template("{{ nothing.at_all }}").render(Context({"said": shown}))
        life.ask("get", f"/app/runs/{word}")
        Client.objects.create(name=word[:120])
        cache.set(f"key-{word}", {"value": word}, timeout=30)
        operator = Http()
        operator.force_login(User.objects.create_user("op", role=Role.OPERATOR, is_staff=True))
        life.keep("admin", operator.get("/admin/tenants/client/"))
    traces.add_redis()
    traces.add_tables()
    (platform.DATA.root / "control.txt").write_text(word)
    try:
        traces.add_files(platform.DATA.root, since=began - 1)
    finally:
        (platform.DATA.root / "control.txt").unlink()
    cache.delete(f"key-{word}")
    assert traces.places_of(shown) == ["log"], "a lookup that fails tells the whole context"
    places = traces.places_of(word)
    for place in ("log", "redis", "table tenants_client", "answer admin", "file control.txt"):
        assert place in places, places
    assert any(place.startswith("file postgres/") for place in places), "its rows, or its write-ahead log"


@pytest.mark.parametrize("shift", range(3))
def test_a_word_is_found_in_each_of_its_spellings(shift: int) -> None:
    word = canary("spelt")
    coded = base64.b64encode(b"user:pw"[:shift] + word.encode() + b"and more").decode()
    for text in (word, word.encode().hex(), coded, json.dumps({"x": word})):
        traces = Traces()
        traces.add("here", text)
        assert traces.places_of(word) == ["here"]
