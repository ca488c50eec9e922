"""Sweeps over HTTP and through the ledger: the same bytes whoever works them out, once, and their client's alone."""

import hashlib
import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.models.functions import Now

from tests.backtests.conftest import Send, sender
from tests.backtests.sweeps.test_config import BASE, changed
from tests.backtests.test_events import stream
from tests.jobs.conftest import Hands, expire_lease
from trading.backtests import selectors, trials
from trading.backtests.models import Chunk, Manifest, Run, Trial
from trading.backtests.sweeps import work
from trading.backtests.sweeps.config import Points, parse
from trading.backtests.sweeps.simulation import GROUP
from trading.jobs import ledger, services
from trading.jobs.models import JobRun
from trading.jobs.registry import registry
from trading.jobs.states import WAITING, State
from trading.tenants.models import Client, Role

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("queues")]
FILES = {"config.json", "heatmap.html", "points.csv", "points.parquet", "summary.json"}
BODY = changed(parameters={"fast": {"from": 2, "to": 12, "step": 1}, "slow": {"from": 10, "to": 60, "step": 2}})


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Cut as if points were dear: a group each."""
    monkeypatch.setattr(work, "SHORTEST_SECONDS", 0.0)
    yield


@pytest.fixture
def hands() -> Hands:
    return Hands()


def submitted(send: Send, body: dict[str, Any] = BODY) -> str:
    answer = send("POST", "/sweeps", body)
    assert answer.status_code == 202, answer.content
    return str(answer.json()["sweep_hash"])


def finished(send: Send, hands: Hands, body: dict[str, Any] = BODY) -> str:
    sweep_hash = submitted(send, body)
    hands.work_off()
    assert send("GET", f"/sweeps/{sweep_hash}").json()["status"] == "succeeded"
    return sweep_hash


def bytes_of(send: Send, sweep_hash: str) -> dict[str, bytes]:
    manifest = send("GET", f"/sweeps/{sweep_hash}/artifacts").json()
    found = {}
    for entry in manifest["files"]:
        answer = send("GET", f"/sweeps/{sweep_hash}/artifacts/{entry['filename']}")
        found[entry["filename"]] = b"".join(answer.streaming_content)
        assert hashlib.sha256(found[entry["filename"]]).hexdigest() == entry["sha256"]
    return found


def test_a_sweep_is_worked_out_in_parts_once(ann: Send, hands: Hands) -> None:
    sweep_hash = submitted(ann)
    assert sweep_hash == parse(BODY).run_hash
    assert ann("GET", f"/sweeps/{sweep_hash}/artifacts").status_code == 409
    hands.work_off()
    points = Points(parse(BODY))
    shown = ann("GET", f"/sweeps/{sweep_hash}").json()
    summary = shown["summary"]
    assert (summary["points"], summary["refused"]) == (len(points), points.refused)
    assert summary["best"]["parameters"].keys() == {"strategy.params.fast", "strategy.params.slow"}
    assert 0.0 <= summary["best"]["deflated_sharpe"] <= 1.0
    assert 0.0 <= summary["overfitting"]["pbo"] <= 1.0
    assert 0.0 < summary["superiority"]["spa_consistent"] <= 1.0
    assert summary["lookahead"]["honest"] is True
    assert JobRun.objects.filter(job="sweep-part", state=State.SUCCEEDED).count() == -(
        -(len(points) - 2 * GROUP) // GROUP
    )
    assert not Chunk.objects.exists()
    left = bytes_of(ann, sweep_hash)
    assert set(left) == FILES
    assert json.loads(left["summary.json"]) == summary
    assert len(left["points.csv"].splitlines()) == len(points) + 1
    again = ann("POST", "/sweeps", BODY)
    assert (again.status_code, again.json()["reused"]) == (200, True)
    listed = ann("GET", "/sweeps").json()["results"]
    assert [(row["sweep_hash"], row["objective"]) for row in listed] == [(sweep_hash, "sharpe")]
    assert ann("GET", "/runs").json()["results"] == []


def test_of_racing_submissions_one_starts_it(ann: Send) -> None:
    def post(_: int) -> int:
        try:
            return int(ann("POST", "/sweeps", BODY).status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        codes = sorted(pool.map(post, range(16)))
    assert codes == [200] * 15 + [202]
    assert (Run.objects.count(), JobRun.objects.count()) == (1, 1)


def waiting() -> list[JobRun]:
    rows = JobRun.objects.filter(state__in=WAITING, rung_at__isnull=False, scheduled_at__lte=Now(), children_pending=0)
    return list(rows.order_by("id"))


def test_the_manifest_is_the_same_on_two_machines_though_a_worker_dies(
    ann: Send, bob: Send, monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Any
) -> None:
    sweep_hash = finished(ann, Hands())
    plain = bytes_of(ann, sweep_hash)
    sealed = ann("GET", f"/sweeps/{sweep_hash}/artifacts").content
    # Another client on another folder: parts of other sizes in a random order, one taken by a worker that dies.
    settings.QT_ARTIFACTS_DIR = str(tmp_path / "elsewhere")
    monkeypatch.setattr(work, "cut", _cut_of_two_groups)
    monkeypatch.setattr("workers.jobs.sweep.cut", _cut_of_two_groups)
    assert submitted(bob) == sweep_hash
    shuffled = random.Random(7)
    killed = 0
    while ready := waiting():
        run = shuffled.choice(ready)
        if run.job == "sweep-part" and killed < 2:
            killed += 1
            assert ledger.claim(run.id, worker="test/dies", pid=1, code_version="test") is not None
            expire_lease(run)
            services.rescue()
            JobRun.objects.filter(id=run.id).update(scheduled_at=Now())
            services.admit_due()
            continue
        Hands(f"test/hands-{shuffled.randrange(4)}").run(run)
    assert killed == 2
    assert bytes_of(bob, sweep_hash) == plain
    assert bob("GET", f"/sweeps/{sweep_hash}/artifacts").content == sealed  # both are the first of their chains


def _cut_of_two_groups(start: int, stop: int, seconds: float) -> list[tuple[int, int]]:
    return [(first, min(first + 32, stop)) for first in range(start, stop, 32)]


def test_another_clients_sweep_is_as_if_it_did_not_exist(alpha: Client, ann: Send, bob: Send, hands: Hands) -> None:
    sweep_hash = finished(ann, hands)
    for path in ("", "/artifacts", "/artifacts/summary.json", "/events"):
        assert bob("GET", f"/sweeps/{sweep_hash}{path}").status_code == 404
        assert ann("GET", f"/runs/{sweep_hash}{path}").status_code == 404  # it is no run
    assert bob("GET", "/sweeps").json()["results"] == []
    reader, operator = sender(alpha, Role.READ_ONLY), sender(None, Role.OPERATOR)
    for send in (reader, operator):
        assert send("GET", f"/sweeps/{sweep_hash}").status_code == 200
        assert send("POST", "/sweeps", BODY).status_code == 403


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({}, ["body", "config"]),
        (changed(config={**BASE, "symbol": "NOPE"}), ["body", "config", "symbol"]),
        (changed(config={**BASE, "strategy": {"name": "nope"}}), ["body", "config", "strategy", "name"]),
        (changed(parameters={"fast": [50], "slow": [10]}), ["body", "parameters", "strategy", "params"]),
        (changed(parameters={"fast": "5"}), ["body", "parameters", "fast"]),
        (changed(draws=3), ["body"]),
    ],
)
def test_what_cannot_be_swept_says_where_and_leaves_nothing(ann: Send, body: dict[str, Any], loc: list[Any]) -> None:
    answer = ann("POST", "/sweeps", body)
    assert answer.status_code == 422, answer.content
    assert loc in [error["loc"] for error in answer.json()["detail"]["errors"]]
    assert not Run.objects.exists()


def test_a_part_that_failed_is_tried_again_with_the_sweep(ann: Send, hands: Hands) -> None:
    plain = bytes_of(ann, finished(ann, hands))
    Run.objects.all().delete()
    Manifest.objects.all().delete()
    JobRun.objects.all().delete()
    sweep_hash = submitted(ann)
    step = registry.get("sweep-part").step("simulate")
    original, calls = step.run, []

    def simulate(ctx: Any, args: Any) -> Any:
        calls.append(args.start)
        if args.start == 64:
            raise RuntimeError("the disk is full")
        return original(ctx, args)

    object.__setattr__(step, "run", simulate)
    try:
        JobRun.objects.update(max_attempts=1)
        hands.run(JobRun.objects.get())
        hands.run(JobRun.objects.get())
        JobRun.objects.filter(job="sweep-part").update(max_attempts=1)
        hands.work_off()
    finally:
        object.__setattr__(step, "run", original)
    shown = ann("GET", f"/sweeps/{sweep_hash}").json()
    assert shown["status"] == "failed"
    assert "the disk is full" in shown["error"]["message"]
    assert ann("POST", "/sweeps", BODY).status_code == 202
    parent = JobRun.objects.get(job="sweep")
    assert (parent.state, parent.children_pending) == (State.SNOOZED, 1)
    assert ann("GET", f"/sweeps/{sweep_hash}").json()["progress"]["done"] == len(calls) - 1
    hands.work_off()
    assert bytes_of(ann, sweep_hash) == plain
    assert JobRun.objects.filter(job="sweep-part").count() == len(calls)


def test_a_cancelled_sweep_stops_with_its_parts_and_goes_on(ann: Send, hands: Hands) -> None:
    sweep_hash = submitted(ann)
    job_id = ann("GET", f"/sweeps/{sweep_hash}").json()["job_run_id"]
    hands.run(UUID(job_id))
    hands.run(UUID(job_id))
    hands.run(waiting()[0])
    assert ann("POST", f"/jobs/runs/{job_id}/cancel").status_code == 202
    assert not JobRun.objects.filter(state__in=WAITING).exists()
    assert ann("GET", f"/sweeps/{sweep_hash}").json()["status"] == "cancelled"
    assert ann("POST", f"/jobs/runs/{job_id}/retry").status_code == 202
    hands.work_off()
    assert ann("GET", f"/sweeps/{sweep_hash}").json()["status"] == "succeeded"


def test_what_changes_under_a_sweep_fails_it(ann: Send, hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep_hash = submitted(ann)
    hands.run(JobRun.objects.get())
    hands.run(JobRun.objects.get())
    monkeypatch.setattr("trading.backtests.provenance.code_version", lambda: "f" * 64)
    hands.work_off()
    shown = ann("GET", f"/sweeps/{sweep_hash}").json()
    assert shown["status"] == "failed"
    assert "Submit its configuration again" in shown["error"]["message"]
    assert ann("POST", "/sweeps", BODY).status_code == 202
    hands.work_off()
    assert ann("GET", f"/sweeps/{sweep_hash}").json()["status"] == "succeeded"


def test_the_life_of_a_sweep_is_told(alpha: Client, ann: Send, hands: Hands) -> None:
    sweep_hash = submitted(ann)
    hands.work_off()
    status, told = stream(alpha, sweep_hash, path="sweeps")
    assert status == 200
    assert [event["event"] for event in told] == ["queued", *["started", "finished"] * 3, "end"]
    assert [json.loads(event["data"])["step"] for event in told[2:-1:2]] == ["load", "measure", "judge"]
    assert stream(alpha, sweep_hash, told[-1]["id"], path="sweeps") == (204, [])


def test_every_point_is_a_trial_and_counts_once(alpha: Client, ann: Send, hands: Hands) -> None:
    sweep_hash = finished(ann, hands)
    points = Points(parse(BODY))
    assert Trial.objects.filter(client=alpha).count() == len(points)
    assert ann("GET", f"/sweeps/{sweep_hash}").json()["trials"]["count"] == len(points)
    best = ann("GET", f"/sweeps/{sweep_hash}").json()["summary"]["best"]
    known = {**BASE, "strategy": {"name": "dual_sma", "params": {"fast": 2, "slow": 10}}}
    run_hash = ann("POST", "/runs", known).json()["run_hash"]  # one of the points
    hands.work_off()
    assert Trial.objects.count() == len(points)
    run = ann("GET", f"/runs/{run_hash}").json()
    assert run["trials"]["count"] == len(points)
    assert run["trials"]["deflated_sharpe"] < best["probabilistic_sharpe"]
    ann("POST", "/runs", {**known, "validation": {"permutation": {"trials": 10}}, "seed": 7})
    ann("POST", "/runs", {**known, "execution": {"fee_bps": 3}})  # this is another
    ann("POST", "/runs", {**known, "symbol": "TEST2"})  # on another market
    hands.work_off()
    assert trials.counted(alpha.id, points.config(0)).count == len(points) + 1
    assert ann("GET", f"/runs/{run_hash}").json()["trials"]["count"] == len(points) + 1


def test_a_sweep_is_verified_and_exported_like_a_run(ann: Send, hands: Hands, tmp_path: Path) -> None:
    sweep_hash = finished(ann, hands)
    out = StringIO()
    call_command("verify_run", sweep_hash, stdout=out)
    assert "every byte worked out again agree" in out.getvalue()
    call_command("export_runs", str(tmp_path / "exported"), stdout=out)
    assert len(list((tmp_path / "exported").glob("*/*/*/heatmap.html"))) == 1


def test_runs_and_sweeps_share_a_chain(alpha: Client, ann: Send, hands: Hands) -> None:
    ann("POST", "/runs", BASE)
    hands.work_off()
    finished(ann, hands)
    bodies = [json.loads(row.body) for row in Manifest.objects.order_by("position")]
    assert bodies[1]["chain_prev"] == bodies[0]["manifest_hash"]
    assert list(selectors.chain_faults(alpha.id)) == []


def test_the_page_may_neither_run_nor_load_anything(ann: Send, hands: Hands) -> None:
    sweep_hash = finished(ann, hands)
    answer = ann("GET", f"/sweeps/{sweep_hash}/artifacts/heatmap.html", Accept="text/html")
    page = b"".join(answer.streaming_content).decode()
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    for unwanted in ("<script", "style=", "src=", "href="):
        assert unwanted not in page
    assert page.count('class="chosen"') == 1
