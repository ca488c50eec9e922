"""Runs over HTTP and through the ledger: once, resumed where they stopped, whole or not, and their client's alone."""

import base64
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from django.db import connections

from tests.backtests.conftest import Send, sender
from tests.backtests.test_config import MINIMAL
from tests.jobs.conftest import Hands
from trading.backtests import candles, provenance, selectors, services
from trading.backtests.models import Manifest, Run
from trading.backtests.parsing import parse
from trading.backtests.store import Staged
from trading.jobs.models import JobRun
from trading.jobs.registry import registry
from trading.jobs.states import State
from trading.tenants.models import Client, Role
from workers.jobs import backtest

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("queues")]
STEPS = ("load", "features", "simulate", "validate", "write")
TABLES = ("draws", "equity", "features", "fills", "positions", "trades")
FILES = {
    "config.json",
    "metrics.json",
    "tearsheet.html",
    "validation.json",
    *(f"{name}.{form}" for name in TABLES for form in ("csv", "parquet")),
}
BODY: dict[str, Any] = {**MINIMAL, "timeframe": "1h", "end": "2024-01-12"}


@pytest.fixture
def hands() -> Hands:
    return Hands()


def submitted(send: Send, body: dict[str, Any] = BODY) -> str:
    answer = send("POST", "/runs", body)
    assert answer.status_code == 202, answer.content
    return str(answer.json()["run_hash"])


def finished(send: Send, hands: Hands, body: dict[str, Any] = BODY) -> str:
    run_hash = submitted(send, body)
    hands.work_off()
    assert send("GET", f"/runs/{run_hash}").json()["status"] == "succeeded"
    return run_hash


def bytes_of(send: Send, run_hash: str) -> dict[str, bytes]:
    manifest = send("GET", f"/runs/{run_hash}/artifacts").json()
    found = {}
    for entry in manifest["files"]:
        answer = send("GET", f"/runs/{run_hash}/artifacts/{entry['filename']}")
        found[entry["filename"]] = b"".join(answer.streaming_content)
    return found


def test_a_run_is_worked_out_once_and_its_artifacts_are_those_of_its_manifest(ann: Send, hands: Hands) -> None:
    first = ann("POST", "/runs", BODY)
    assert (first.status_code, first.json()["status"], first.json()["reused"]) == (202, "queued", False)
    run_hash = first.json()["run_hash"]
    assert run_hash == hashlib.sha256(parse(BODY).canonical()).hexdigest()
    assert ann("GET", f"/runs/{run_hash}/artifacts").status_code == 409
    hands.work_off()
    again = ann("POST", "/runs", BODY)
    assert (again.status_code, again.json()["status"], again.json()["reused"]) == (200, "succeeded", True)
    assert JobRun.objects.filter(job="backtest").count() == 1
    shown = ann("GET", f"/runs/{run_hash}").json()
    manifest = ann("GET", f"/runs/{run_hash}/artifacts").json()
    assert {entry["filename"] for entry in manifest["files"]} == FILES
    assert (manifest["run_hash"], manifest["manifest_hash"]) == (run_hash, shown["manifest_hash"])
    for entry in manifest["files"]:
        answer = ann("GET", f"/runs/{run_hash}/artifacts/{entry['filename']}")
        content = b"".join(answer.streaming_content)
        assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["size"], entry["sha256"])
        assert answer["ETag"] == f'"{entry["sha256"]}"'
    assert shown["metrics"] == json.loads(bytes_of(ann, run_hash)["metrics.json"])
    assert shown["config"] == json.loads(bytes_of(ann, run_hash)["config.json"])


def test_equal_configurations_in_other_words_are_one_run(ann: Send) -> None:
    run_hash = submitted(ann)
    spelled = {**dict(reversed(BODY.items())), "seed": 42.0, "start": "2024-01-01T00:00:00+00:00", "initial_cash": 1e5}
    answer = ann("POST", "/runs", spelled)
    assert (answer.status_code, answer.json()["run_hash"]) == (200, run_hash)


def test_of_racing_submissions_one_starts_it(ann: Send) -> None:
    def post(_: int) -> int:
        try:
            return int(ann("POST", "/runs", BODY).status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        codes = sorted(pool.map(post, range(24)))
    assert codes == [200] * 23 + [202]
    assert (Run.objects.count(), JobRun.objects.filter(job="backtest").count()) == (1, 1)


def test_another_clients_run_is_as_if_it_did_not_exist(ann: Send, bob: Send, hands: Hands) -> None:
    run_hash = finished(ann, hands)
    for path in ("", "/artifacts", "/artifacts/metrics.json", "/events"):
        assert bob("GET", f"/runs/{run_hash}{path}").status_code == 404
    assert bob("GET", "/runs").json()["results"] == []
    answer = bob("POST", "/runs", BODY)  # nothing tells that Alpha has it
    assert (answer.status_code, answer.json()["reused"]) == (202, False)
    hands.work_off()
    assert bytes_of(bob, run_hash) == bytes_of(ann, run_hash)


def test_readers_look_and_operators_start_nothing(alpha: Client, ann: Send, hands: Hands) -> None:
    run_hash = finished(ann, hands)
    reader, operator = sender(alpha, Role.READ_ONLY), sender(None, Role.OPERATOR)
    for send in (reader, operator):
        assert send("GET", f"/runs/{run_hash}").status_code == 200
        assert send("POST", "/runs", BODY).status_code == 403


@pytest.mark.parametrize(
    ("fields", "loc"),
    [
        ({"symbol": "NOPE"}, ["body", "symbol"]),
        ({"strategy": {"name": "nope"}}, ["body", "strategy", "name"]),
        ({"strategy": {"name": "dual_sma", "params": {"fast": 5, "slow": 3}}}, ["body", "strategy", "params"]),
        ({"strategy": {"name": "dual_sma", "params": {"speed": 3}}}, ["body", "strategy", "params", "speed"]),
        ({"indicators": [{"name": "sma", "params": {"window": 0}}]}, ["body", "indicators", 0, "params", "window"]),
        ({"indicators": [{"name": "nope"}]}, ["body", "indicators", 0, "name"]),
        ({"indicators": [{"name": "sma"}, {"name": "sma", "params": {"window": 20}}]}, ["body", "indicators", 1]),
        ({"risk": {"model": "fixed_fraction", "params": {"fraction": -1}}}, ["body", "risk", "params"]),
        ({"execution": {"slippage": {"model": "spread_pct"}}}, ["body", "execution", "slippage", "params"]),
        ({"timeframe": "1m", "start": "1900-01-01"}, ["body", "start"]),
    ],
)
def test_what_cannot_be_run_says_where_and_leaves_nothing(ann: Send, fields: dict[str, Any], loc: list[Any]) -> None:
    answer = ann("POST", "/runs", {**BODY, **fields})
    assert answer.status_code == 422, answer.content
    assert loc in [error["loc"] for error in answer.json()["detail"]["errors"]]
    assert not Run.objects.exists()
    assert not JobRun.objects.exists()


@pytest.mark.parametrize("step", STEPS)
def test_a_retry_goes_on_at_the_step_that_failed(ann: Send, hands: Hands, step: str) -> None:
    plain = bytes_of(ann, finished(ann, hands))
    Run.objects.all().delete()
    Manifest.objects.all().delete()
    run_hash = submitted(ann)
    job = registry.get("backtest").step(step)

    def broken(*_: Any) -> None:
        raise RuntimeError("the disk is full")

    JobRun.objects.update(max_attempts=1)
    original = job.run
    object.__setattr__(job, "run", _named(broken, original.__name__))
    try:
        hands.work_off()
    finally:
        object.__setattr__(job, "run", original)
    shown = ann("GET", f"/runs/{run_hash}").json()
    assert (shown["status"], shown["error"]["message"]) == ("failed", "the disk is full")
    answer = ann("POST", f"/jobs/runs/{shown['job_run_id']}/retry")
    assert answer.status_code == 202
    hands.work_off()
    assert bytes_of(ann, run_hash) == plain
    done = JobRun.objects.get(id=shown["job_run_id"])
    tries = {name: done.attempts.filter(step=name).count() for name in STEPS}
    assert tries == {name: 2 if name == step else 1 for name in STEPS}


def _named(function: Any, name: str) -> Any:
    function.__name__ = name
    return function


def test_a_failed_run_that_is_submitted_again_goes_on(ann: Send, hands: Hands) -> None:
    run_hash = submitted(ann)
    JobRun.objects.update(state=State.FAILED, finished_at="2024-01-01T00:00:00Z", rung_at=None)
    answer = ann("POST", "/runs", BODY)
    assert (answer.status_code, answer.json()["run_hash"]) == (202, run_hash)
    hands.work_off()
    assert ann("GET", f"/runs/{run_hash}").json()["status"] == "succeeded"
    assert JobRun.objects.count() == 1


def test_a_run_that_the_ledger_forgot_is_started_anew(ann: Send, hands: Hands) -> None:
    run_hash = submitted(ann)
    JobRun.objects.all().delete()
    assert ann("GET", f"/runs/{run_hash}").json()["status"] == "failed"
    assert ann("POST", "/runs", BODY).status_code == 202
    hands.work_off()
    assert ann("GET", f"/runs/{run_hash}").json()["status"] == "succeeded"


def test_a_cancelled_run_stops_and_can_go_on(ann: Send, hands: Hands) -> None:
    run_hash = submitted(ann)
    job_id = ann("GET", f"/runs/{run_hash}").json()["job_run_id"]
    hands.run(UUID(job_id))
    assert ann("POST", f"/jobs/runs/{job_id}/cancel").status_code == 202
    hands.work_off()
    assert ann("GET", f"/runs/{run_hash}").json()["status"] == "cancelled"
    assert ann("POST", "/runs", BODY).status_code == 202
    hands.work_off()
    assert ann("GET", f"/runs/{run_hash}").json()["status"] == "succeeded"


def test_what_a_process_holds_for_the_next_step_changes_no_byte_and_is_let_go(
    ann: Send, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = 0

    def counted(config: Any) -> Any:
        nonlocal read
        read += 1
        return stored(config)

    stored = candles.stored
    monkeypatch.setattr(candles, "stored", counted)
    held = bytes_of(ann, finished(ann, hands))
    assert read == 2  # to identify it, and to work it out
    assert not backtest._at_hand
    Run.objects.all().delete()
    Manifest.objects.all().delete()
    monkeypatch.setattr(backtest, "MOST_AT_HAND", 0)
    assert bytes_of(ann, finished(ann, hands)) == held


@pytest.mark.parametrize("most", [0, backtest.MOST_AT_HAND])
def test_a_step_that_lost_the_scratch_folder_finds_its_way(
    ann: Send, hands: Hands, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    plain = bytes_of(ann, finished(ann, hands))
    monkeypatch.setattr(backtest, "MOST_AT_HAND", most)
    Run.objects.all().delete()
    Manifest.objects.all().delete()
    run_hash = submitted(ann)
    job_id = UUID(ann("GET", f"/runs/{run_hash}").json()["job_run_id"])
    for _ in STEPS:
        services.store().forget(Run.objects.get().id)
        hands.run(job_id)
    assert bytes_of(ann, run_hash) == plain


def test_new_candles_or_code_make_a_new_run_of_the_same_hash(
    ann: Send, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_hash = finished(ann, hands)
    monkeypatch.setattr(provenance, "code_version", lambda: "f" * 64)
    answer = ann("POST", "/runs", BODY)
    assert (answer.status_code, answer.json()["run_hash"]) == (202, run_hash)
    assert ann("GET", f"/runs/{run_hash}").json()["status"] == "queued"  # the newest
    hands.work_off()
    assert ann("GET", f"/runs/{run_hash}").json()["code_version"] == "f" * 64
    assert Run.objects.count() == 2


def test_code_that_changes_under_a_run_fails_it(ann: Send, hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    run_hash = submitted(ann)
    hands.run(UUID(ann("GET", f"/runs/{run_hash}").json()["job_run_id"]))
    monkeypatch.setattr(provenance, "code_version", lambda: "f" * 64)
    hands.work_off()
    shown = ann("GET", f"/runs/{run_hash}").json()
    assert shown["status"] == "failed"
    assert "Submit its configuration again" in shown["error"]["message"]


def test_what_changed_between_submission_and_start_is_recorded_as_used(
    ann: Send, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_hash = submitted(ann)
    Run.objects.update(data_hash="0" * 64)
    hands.work_off()
    used = ann("GET", f"/runs/{run_hash}").json()["data_hash"]
    assert used != "0" * 64
    Run.objects.update(data_hash="1" * 64)  # an older run; the next finds its place taken
    submitted(ann)
    Run.objects.filter(manifest_hash="").update(data_hash="2" * 64)
    Run.objects.exclude(manifest_hash="").update(data_hash=used)
    hands.work_off()
    late = ann("GET", f"/runs/{run_hash}").json()
    assert (late["status"], "another run" in late["error"]["message"]) == ("failed", True)


@pytest.mark.parametrize(
    "name",
    [
        "nope",
        "..",
        "../metrics.json",
        "%2e%2e/metrics.json",
        "%2e%2e%2fmetrics.json",
        "..%2f..%2f..%2fetc%2fpasswd",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "metrics.json%00",
        "metrics.json/",
        "./metrics.json",
        "METRICS.JSON",
        "metrics.json%0a",
        "%ff",
    ],
)
def test_no_name_leads_anywhere_but_to_the_manifests_files(ann: Send, hands: Hands, name: str) -> None:
    run_hash = finished(ann, hands)
    outside = services.store().root / "metrics.json"
    outside.write_bytes(b"secret")
    answer = ann("GET", f"/runs/{run_hash}/artifacts/{name}")
    assert answer.status_code == 404
    assert answer.json()["detail"]["type"] == "not_found"


def test_a_changed_artifact_is_not_given_out(ann: Send, hands: Hands, alpha: Client) -> None:
    run_hash = finished(ann, hands)
    path = services.store().folder(alpha.id, Run.objects.get().id) / "metrics.json"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"0", b"1", 1))
    answer = ann("GET", f"/runs/{run_hash}/artifacts/metrics.json")
    assert (answer.status_code, answer.json()["detail"]["type"]) == (500, "artifact_corrupt")
    path.unlink()
    (path.parent / "elsewhere").write_bytes(content)
    path.symlink_to(path.parent / "elsewhere")
    assert ann("GET", f"/runs/{run_hash}/artifacts/metrics.json").status_code == 500
    path.unlink()
    path.write_bytes(content)
    assert bytes_of(ann, run_hash)["metrics.json"] == content


def test_a_tag_that_is_known_already_costs_no_bytes(ann: Send, hands: Hands) -> None:
    run_hash = finished(ann, hands)
    path = f"/runs/{run_hash}/artifacts/metrics.json"
    tag = f'"{hashlib.sha256(bytes_of(ann, run_hash)["metrics.json"]).hexdigest()}"'
    for header in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = ann("GET", path, If_None_Match=header)
        assert (answer.status_code, answer.content) == (304, b"")
    answer = ann("GET", path, If_None_Match='"other"')
    assert (answer.status_code, len(b"".join(answer.streaming_content)) > 0) == (200, True)


def test_the_tearsheet_may_neither_run_nor_load_anything(ann: Send, hands: Hands) -> None:
    run_hash = finished(ann, hands)
    answer = ann("GET", f"/runs/{run_hash}/artifacts/tearsheet.html", Accept="text/html")
    page = b"".join(answer.streaming_content).decode()
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert "<script" not in page
    assert "style=" not in page
    assert "http" not in page.replace("http-equiv", "")
    style = page.split("<style>")[1].split("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"sha256-{digest}" in page


def test_the_list_goes_on_by_key(ann: Send) -> None:
    hashes = [submitted(ann, {**BODY, "seed": seed}) for seed in range(5)]
    first = ann("GET", "/runs?limit=3").json()
    assert [row["run_hash"] for row in first["results"]] == hashes[:1:-1]
    rest = ann("GET", first["next"].removeprefix("http://testserver")).json()
    assert [row["run_hash"] for row in rest["results"]] == hashes[1::-1]
    assert rest["next"] is None


@pytest.mark.parametrize("run_hash", ["x", "a" * 64, "%00", "A" * 64, "é"])
def test_a_hash_that_is_none_is_not_found(ann: Send, run_hash: str) -> None:
    for path in ("", "/artifacts", "/artifacts/metrics.json", "/events"):
        assert ann("GET", f"/runs/{run_hash}{path}").status_code == 404


def test_the_chain_links_what_finished_and_every_change_in_it_is_found(ann: Send, hands: Hands, alpha: Client) -> None:
    hashes = [finished(ann, hands, {**BODY, "seed": seed}) for seed in range(4)]
    manifests = [ann("GET", f"/runs/{run_hash}/artifacts").json() for run_hash in hashes]
    assert manifests[0]["chain_prev"] == "0" * 64
    for before, after in pairwise(manifests):
        assert after["chain_prev"] == before["manifest_hash"]
    assert list(selectors.chain_faults(alpha.id)) == []
    row = Manifest.objects.get(position=2)
    changes: list[dict[str, Any]] = [
        {"body": row.body.replace(hashes[1], hashes[0])},
        {"manifest_hash": "0" * 64},
        {"run_hash": hashes[0]},
    ]
    for change in changes:
        Manifest.objects.filter(id=row.id).update(**change)
        assert list(selectors.chain_faults(alpha.id)), change
        row.save()
        assert list(selectors.chain_faults(alpha.id)) == []
    row.delete()
    faults = [fault.position for fault in selectors.chain_faults(alpha.id)]
    assert faults


def test_the_oldest_runs_go_and_the_chain_stays(ann: Send, hands: Hands, alpha: Client, settings: Any) -> None:
    settings.QT_BACKTEST_RUNS_KEPT = 2
    hashes = [finished(ann, hands, {**BODY, "seed": seed}) for seed in range(4)]
    assert [row["run_hash"] for row in ann("GET", "/runs").json()["results"]] == hashes[:1:-1]
    assert ann("GET", f"/runs/{hashes[0]}").status_code == 404
    assert len(list((services.store().root / str(alpha.id)).iterdir())) == 2
    assert list((services.store().root / ".staging").iterdir()) == []
    assert Manifest.objects.count() == 4
    assert list(selectors.chain_faults(alpha.id)) == []
    assert ann("POST", "/runs", {**BODY, "seed": 0}).status_code == 202


def test_a_run_that_is_worked_at_is_not_pruned(ann: Send, hands: Hands, alpha: Client) -> None:
    run_hash = submitted(ann)
    assert services.prune(alpha.id, keep=0) == 0
    hands.work_off()
    assert services.prune(alpha.id, keep=0) == 1
    assert ann("GET", f"/runs/{run_hash}").status_code == 404


def test_a_commit_that_never_came_leaves_nothing_that_counts(
    ann: Send, hands: Hands, monkeypatch: pytest.MonkeyPatch, alpha: Client
) -> None:
    run_hash = submitted(ann)
    publish = services.ArtifactStore.publish

    def published_then_lost(self: Any, staged: Staged, client_id: UUID, run_id: UUID) -> None:
        publish(self, staged, client_id, run_id)
        raise RuntimeError("the machine went dark")

    monkeypatch.setattr(services.ArtifactStore, "publish", published_then_lost)
    JobRun.objects.update(max_attempts=1)
    hands.work_off()
    assert ann("GET", f"/runs/{run_hash}").json()["status"] == "failed"
    assert not Manifest.objects.exists()
    monkeypatch.setattr(services.ArtifactStore, "publish", publish)
    assert ann("POST", "/runs", BODY).status_code == 202
    hands.work_off()
    assert set(bytes_of(ann, run_hash)) == FILES
    assert list(selectors.chain_faults(alpha.id)) == []


def test_nothing_is_worked_out_for_a_client_that_was_closed_meanwhile(ann: Send, hands: Hands, alpha: Client) -> None:
    run_hash = submitted(ann)
    job_id = UUID(ann("GET", f"/runs/{run_hash}").json()["job_run_id"])
    Client.objects.filter(id=alpha.id).update(is_active=False)
    hands.run(job_id)
    job = JobRun.objects.get(id=job_id)
    assert (job.state, job.error_type, job.returned) == (State.FAILED, "InvalidArguments", {})
