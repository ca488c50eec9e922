"""Submitting runs, finishing them, pruning them; keeping presets."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from psycopg.types.json import Jsonb

from trading.backtests import candles, canonical, manifest, provenance, registry, trials
from trading.backtests.config import RunConfig
from trading.backtests.manifest import Identity
from trading.backtests.models import Kind, Preset, Run
from trading.backtests.parsing import strategies_folder
from trading.backtests.store import ArtifactStore, Staged
from trading.backtests.sweeps.config import SweepConfig
from trading.core.ids import uuid7
from trading.jobs import services as jobs
from trading.jobs.ledger import execute
from trading.jobs.models import JobRun
from trading.jobs.states import RETRYABLE, Trigger

JOBS = {Kind.RUN: "backtest", Kind.SWEEP: "sweep"}
"""The job that works each kind out."""


class Superseded(RuntimeError):
    """What the run is worked out from has changed since, and another run has that already."""


@dataclass(frozen=True)
class Submitted:
    """The run that answers a submission; ``started`` is False when what was there already answers it."""

    run: Run
    started: bool


def store() -> ArtifactStore:
    """Where this platform keeps artifacts."""
    return ArtifactStore(Path(settings.QT_ARTIFACTS_DIR))


def backtest_of(config: RunConfig | SweepConfig) -> RunConfig:
    """The backtest itself, or the one that a sweep varies."""
    return config.config if isinstance(config, SweepConfig) else config


def identity(config: RunConfig | SweepConfig, found: Sequence[candles.Series]) -> Identity:
    """What a run or sweep of ``config`` on those candles is worked out from, here and now."""
    return Identity(config.run_hash, candles.data_hash(found), *code_identity(backtest_of(config)))


def code_identity(config: RunConfig) -> tuple[str, str]:
    """The code that works ``config`` out in this process, and its packages.

    The code is the platform's, and with it the files of the operator's own strategies that ``config`` names.
    """
    code, folder = provenance.code_version(), strategies_folder()
    if folder is None:
        return code, provenance.lock_hash()
    named = sorted({config.strategy.name, *(given.name for given in config.indicators)})
    found = [registry.find(name, folder) for name in named if name in registry.names(folder)]
    own = [strategy.sha256 for strategy in found if strategy.own]
    return canonical.digest([code, *own]) if own else code, provenance.lock_hash()


def submit(config: RunConfig | SweepConfig, *, client_id: UUID, by: str = "", request_id: str = "") -> Submitted:
    """Have ``config``, of a run or of a sweep, worked out for a client, unless that has been done or is being done.

    Of any number of racing submissions one inserts the run, by the table's unique constraint; the others find it. A run
    that failed or was cancelled is queued again from the step that did not succeed. Raises `candles.NoCandles`,
    `candles.TooManyCandles` and `candles.Misspaced`.
    """
    what = identity(config, candles.stored(backtest_of(config)))
    kind = Kind.SWEEP if isinstance(config, SweepConfig) else Kind.RUN
    with transaction.atomic():
        new = Run(id=uuid7(), client_id=client_id, kind=kind, config=config.plain(), **asdict(what))
        Run.objects.bulk_create([new], ignore_conflicts=True)
        run = Run.objects.select_for_update(no_key=True).get(client_id=client_id, **asdict(what))
        started = run.id == new.id
        if run.manifest_hash:
            return Submitted(run, started=False)
        job = None if started else JobRun.objects.filter(id=run.job_run_id or UUID(int=0)).first()
        if job is None:  # new, or failed so long ago that the ledger has forgotten it
            enqueued = jobs.enqueue(
                JOBS[kind],
                {"run_id": str(run.id)},
                client_id=client_id,
                trigger=Trigger.API,
                triggered_by=by,
                request_id=request_id,
            )
            run.job_run_id = enqueued.run.id
            run.save(update_fields=["job_run_id"])
            started = True
        elif job.state in RETRYABLE:
            jobs.retry(job.id, by=by)
            started = True
        return Submitted(run, started)


def settle_identity(run: Run, what: Identity) -> None:
    """Record what a run that has just begun is really worked out from.

    Candles may have come, and the code may have been changed, between its submission and its beginning. Raises
    `Superseded` when the client has another run of that.
    """
    if identity_of(run) == what:
        return
    try:
        with transaction.atomic():
            Run.objects.filter(id=run.id).update(**asdict(what))
    except IntegrityError:
        raise Superseded(
            "The candles or the code have changed since it was submitted, and another run has used them as they are."
            " Submit the configuration again to find that one."
        ) from None
    run.data_hash, run.code_version, run.lock_hash = what.data_hash, what.code_version, what.lock_hash


def identity_of(run: Run) -> Identity:
    """What a run is worked out from, by its row."""
    return Identity(run.run_hash, run.data_hash, run.code_version, run.lock_hash)


# As SQL, as are the other statements of a run's steps: Django takes longer to make a statement than most take to run.
_LINK: LiteralString = """
WITH linked AS (
    INSERT INTO backtest_manifests (client_id, position, run_id, run_hash, manifest_hash, chain_prev, body)
    VALUES (%(client_id)s, %(position)s, %(run_id)s, %(run_hash)s, %(manifest_hash)s, %(chain_prev)s, %(body)s)
)
UPDATE backtest_runs SET manifest_hash = %(manifest_hash)s, metrics = %(metrics)s, finished_at = now()
 WHERE id = %(run_id)s
"""


def finish(
    run: Run,
    artifacts: Mapping[str, bytes],
    metrics: Mapping[str, Any],
    *,
    tried: Iterable[tuple[RunConfig, float | None]],
    staged: Staged,
    into: ArtifactStore,
) -> manifest.Manifest:
    """Count what a run has tried, link it into its client's chain and put its artifacts in their place.

    Called inside the transaction under which the job holds its run. ``tried``: each configuration with its Sharpe ratio
    per bar. ``staged`` holds ``artifacts``; the manifest joins them there. The client's row is locked, so that the
    chain grows by one link at a time.
    """
    files = manifest.entries(artifacts)
    trials.record(run.client_id, tried)
    execute("SELECT FROM tenants_client WHERE id = %(client_id)s FOR NO KEY UPDATE", {"client_id": run.client_id})
    chain = execute(
        "SELECT position, manifest_hash FROM backtest_manifests WHERE client_id = %(client_id)s"
        " ORDER BY position DESC LIMIT 1",
        {"client_id": run.client_id},
    )
    position, last = (chain[0]["position"], chain[0]["manifest_hash"]) if chain else (0, manifest.FIRST_LINK)
    sealed = manifest.seal(identity_of(run), files, chain_prev=last)
    staged.add({manifest.NAME: sealed.body})
    run.manifest_hash, run.metrics = sealed.manifest_hash, dict(metrics)
    execute(
        _LINK,
        {
            "client_id": run.client_id,
            "position": position + 1,
            "run_id": run.id,
            "run_hash": run.run_hash,
            "manifest_hash": sealed.manifest_hash,
            "chain_prev": sealed.chain_prev,
            "body": sealed.body.decode(),
            "metrics": Jsonb(run.metrics),
        },
    )
    into.publish(staged, run.client_id, run.id)
    return sealed


def prune(client_id: UUID, *, keep: int, kinds: Iterable[Kind] = tuple(Kind)) -> int:
    """Delete all but the client's newest ``keep`` of each of the ``kinds``, with their artifacts; how many.

    What is being worked out stays. Their manifests stay too, so that the chain can still be verified, and the trials
    that they were count on.
    """
    full = execute(
        "SELECT kind FROM unnest(%(kinds)s::text[]) kind WHERE EXISTS (SELECT FROM backtest_runs"
        " WHERE client_id = %(client_id)s AND backtest_runs.kind = kind.kind OFFSET %(keep)s)",
        {"client_id": client_id, "kinds": [kind.value for kind in kinds], "keep": keep},
    )
    if not full:  # as nearly always: not worth a transaction
        return 0
    rows = Run.objects.filter(client_id=client_id).order_by("-id")
    with transaction.atomic():
        locked = rows.select_for_update(skip_locked=True, no_key=True)
        old = [run for row in full for run in locked.filter(kind=row["kind"])[keep:]]
        live = set(
            JobRun.objects.filter(id__in=[run.job_run_id for run in old], finished_at__isnull=True).values_list(
                "id", flat=True
            )
        )
        going = [run for run in old if run.job_run_id not in live]
        Run.objects.filter(id__in=[run.id for run in going]).delete()
    for run in going:
        store().remove(client_id, run.id)
        store().forget(run.id)
    return len(going)


@dataclass(frozen=True)
class Kept:
    """The preset that answers; ``created`` is False when it was there already."""

    preset: Preset
    created: bool


def keep_preset(name: str, config: RunConfig, *, client_id: UUID) -> Kept:
    """Keep a named configuration; the same name and configuration again are the same preset."""
    plain = config.plain()
    preset_id = canonical.digest({"name": name, "config": plain})
    new = Preset(id=uuid7(), client_id=client_id, preset_id=preset_id, name=name, config=plain)
    Preset.objects.bulk_create([new], ignore_conflicts=True)
    preset = Preset.objects.get(client_id=client_id, preset_id=preset_id)
    return Kept(preset, created=preset.id == new.id)
