"""Reading runs, their manifests and presets; verifying a client's chain."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from trading.backtests import manifest, trials
from trading.backtests.config import RunConfig
from trading.backtests.models import Kind, Manifest, Preset, Promotion, Run
from trading.jobs.access import Caller, is_operator
from trading.jobs.models import JobRun
from trading.jobs.states import State
from trading.quant.statistics import Record

_FIGURES = {Kind.RUN: "metrics", Kind.SWEEP: "summary"}
CONFIG_SHOWN = ("symbol", "symbols", "timeframe", "start", "end")


def visible(caller: Caller, kind: Kind = Kind.RUN) -> QuerySet[Run]:
    """The runs or sweeps that the caller may see: an operator all, others their client's."""
    return _of(caller, Run.objects.filter(kind=kind))


def visible_presets(caller: Caller) -> QuerySet[Preset]:
    """The presets that the caller may see: an operator all, others their client's."""
    return _of(caller, Preset.objects.all())


def visible_promotions(caller: Caller) -> QuerySet[Promotion]:
    """The promotions that the caller may see: an operator all, others their client's."""
    return _of(caller, Promotion.objects.all())


def _of(caller: Caller, rows: QuerySet[Any]) -> QuerySet[Any]:
    if is_operator(caller):
        return rows
    return rows.none() if caller.client_id is None else rows.filter(client_id=caller.client_id)


def newest(rows: QuerySet[Run], run_hash: str) -> Run | None:
    """The newest of ``rows`` with that hash: the same configuration on older candles or code lies behind it."""
    if len(run_hash) != 64 or not set(run_hash) <= set("0123456789abcdef"):
        return None
    return rows.filter(run_hash=run_hash).order_by("-id").first()


def job_runs(runs: Sequence[Run]) -> Mapping[UUID, JobRun]:
    """The ledger's rows of ``runs``, by id; it forgets those that ended long ago."""
    ids = [run.job_run_id for run in runs if run.job_run_id is not None]
    columns = ("id", "state", "progress_done", "progress_total", "progress_note", "error_type", "error_message")
    return JobRun.objects.only(*columns).in_bulk(ids)


def status(run: Run, job: JobRun | None) -> str:
    """Where a run stands: one of `trading.jobs.states.State`."""
    if run.manifest_hash:
        return State.SUCCEEDED.value
    return State.FAILED.value if job is None else str(job.state)


def summary(run: Run, job: JobRun | None) -> dict[str, Any]:
    """A run or sweep as the list shows it."""
    varied: dict[str, Any] = {"leaks": (run.metrics or {}).get("leaks")}
    if run.kind == Kind.SWEEP:
        leaks = (run.metrics or {}).get("lookahead", {}).get("leaks")
        varied = {name: run.config[name] for name in ("search", "objective")}
        varied["leaks"] = None if leaks is None else len(leaks)
        varied["parameters"] = sorted(run.config["parameters"])
    return {
        f"{run.kind}_hash": run.run_hash,
        "status": status(run, job),
        "job_run_id": None if run.job_run_id is None else str(run.job_run_id),
        **{name: run.backtest[name] for name in CONFIG_SHOWN if name in run.backtest},
        "strategy": run.backtest["strategy"]["name"],
        **varied,
        "progress": None
        if job is None
        else {"done": job.progress_done, "total": job.progress_total, "note": job.progress_note},
        "error": {"type": job.error_type, "message": job.error_message} if job and job.error_type else None,
        _FIGURES[Kind(run.kind)]: run.metrics,
        "created_at": run.created_at,
        "finished_at": run.finished_at,
    }


def detail(run: Run, job: JobRun | None) -> dict[str, Any]:
    """A run or sweep with its configuration, all that it was worked out from, and what is left of it by now.

    ``trials`` is not in the artifacts: it grows with all that the client goes on to try.
    """
    return {
        **summary(run, job),
        "trials": None if run.metrics is None else deflated(run),
        "config": run.config,
        "data_hash": run.data_hash,
        "code_version": run.code_version,
        "lock_hash": run.lock_hash,
        "manifest_hash": run.manifest_hash or None,
    }


def deflated(run: Run) -> dict[str, Any]:
    """What a finished run's Sharpe ratio, or that of a sweep's best, is worth among all that the client has tried."""
    found = run.metrics or {}
    if run.kind == Kind.SWEEP:
        best = found["best"]
        record = None
        if best is not None:
            bars = best["metrics"]["bars"]
            record = Record(best["sharpe_per_bar"], best["skewness"], best["kurtosis"], bars - 1)
        return trials.deflated(run.client_id, RunConfig.model_validate_json(json.dumps(run.backtest)), record)
    config = RunConfig.model_validate_json(json.dumps(run.config))
    return trials.deflated(run.client_id, config, trials.record_of(found))


def manifest_of(run: Run) -> manifest.Manifest | None:
    """A finished run's manifest, as the chain keeps it; None before it has finished. Raises `manifest.Tampered`."""
    row = Manifest.objects.filter(run_id=run.id).first()
    return None if row is None else manifest.read(row.body.encode())


@dataclass(frozen=True)
class Fault:
    """Something in a chain that is not as it was written."""

    position: int
    message: str


def chain_faults(client_id: UUID) -> Iterator[Fault]:
    """What is wrong with a client's chain of manifests, from its beginning; nothing when it is whole."""
    before, place = manifest.FIRST_LINK, 0
    for row in Manifest.objects.filter(client_id=client_id).order_by("position").iterator():
        place += 1
        if row.position != place:
            yield Fault(place, f"position {place} is missing: the chain goes on at {row.position}")
            place = row.position
        try:
            found = manifest.read(row.body.encode())
        except manifest.Tampered as error:
            yield Fault(place, str(error))
            before = row.manifest_hash
            continue
        if found.manifest_hash != row.manifest_hash or found.identity.run_hash != row.run_hash:
            yield Fault(place, "the manifest is another than the one recorded for this position")
        if found.chain_prev != before or row.chain_prev != before:
            yield Fault(place, f"its chain_prev is {found.chain_prev}, the manifest before it has {before}")
        before = found.manifest_hash
    linked = Manifest.objects.filter(client_id=client_id).values("manifest_hash")
    for run in Run.objects.filter(client_id=client_id).exclude(manifest_hash="").exclude(manifest_hash__in=linked):
        yield Fault(place + 1, f"the manifest of run {run.run_hash} is not in the chain")
