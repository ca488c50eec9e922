"""Which strategy may go from backtests to paper and live: the platform's rule, what it said yes to, and taking it back.

The rule is `trading.quant.statistics.promotable` on numbers that the platform itself has: the run's sealed artifacts,
the count of all that the client has tried on the market, and the sweeps that held the parameters. With it goes the
look-ahead check: a strategy that reads bars that have not happened is named, and goes nowhere.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from trading.audit.services import record
from trading.backtests import manifest, registry, selectors, services, trials
from trading.backtests.config import RunConfig
from trading.backtests.models import Kind, Level, Promotion, Run
from trading.backtests.parsing import strategies_folder
from trading.backtests.registry import UnknownStrategy
from trading.backtests.strategy import BrokenStrategy
from trading.backtests.sweeps.config import SweepConfig, holds
from trading.core.ids import uuid7
from trading.quant.statistics import Policy, Reason, promotable
from trading.tenants.models import Client

MOST_SWEEPS = 100
POLICY = Policy()


class NotPromotable(Exception):
    """The rule says no; ``reasons`` names everything that speaks against it."""

    def __init__(self, reasons: Sequence[Reason]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("It cannot be promoted: " + "; ".join(reason.message for reason in reasons) + ".")


@dataclass(frozen=True)
class Judged:
    """What the rule says of a run: nothing speaks against it when there are no ``reasons``."""

    reasons: tuple[Reason, ...]
    evidence: dict[str, Any]


@dataclass(frozen=True)
class Promoted:
    """The promotion in force; ``created`` is False when the same run had it already."""

    promotion: Promotion
    created: bool


def promoted(client_id: UUID, strategy: str, level: Level | str) -> Promotion | None:
    """The promotion by which a client's ``strategy`` may trade at ``level``, with the configuration that was tested.

    None when there is none in force, or when the strategy's file is another than the one that was tested.
    """
    found = Promotion.objects.filter(
        client_id=client_id, strategy=strategy, level=level, demoted_at__isnull=True
    ).first()
    if found is None:
        return None
    try:
        now = registry.find(strategy, strategies_folder())
    except (UnknownStrategy, BrokenStrategy):
        return None
    return found if now.sha256 == found.strategy_sha256 else None


def judge(run: Run, level: Level = Level.PAPER) -> Judged:
    """What speaks against promoting a run to ``level``. Raises `manifest.Tampered` when its artifacts were changed."""
    if run.kind != Kind.RUN or not run.manifest_hash or run.metrics is None:
        what = "wait until it has succeeded, or submit it again if it failed or was cancelled"
        return Judged((Reason("not_finished", f"it has not been worked out: {what}", None, 1.0),), {})
    config = RunConfig.model_validate_json(json.dumps(run.config))
    said = _validation(run)
    reasons = [*_against_code(run, config), *_against_lookahead(config, said.get("lookahead", {}))]
    if level == Level.LIVE and not _is_on_paper(run):
        message = f"{config.strategy.name} is not on paper with this configuration: promote it there first"
        reasons.append(Reason("not_on_paper", message, None, 1.0))
    tried = trials.counted(run.client_id, config)
    pbo = _overfitting(run.client_id, config)
    p_value = said.get("permutation", {}).get("p_value")
    track = trials.record_of(run.metrics)
    evidence: dict[str, Any] = {
        "trials": tried.count,
        "permutation_p": p_value,
        "pbo": pbo,
        "alpha": POLICY.alpha,
        "pbo_bound": POLICY.pbo_bound,
    }
    if track is None:
        message = "its equity fell to zero, or nothing was ever risked: there is no Sharpe ratio to look at"
        return Judged((*reasons, Reason("no_record", message, None, 1.0)), evidence)
    verdict = promotable(track, tried, permutation_p=p_value, pbo=pbo, policy=POLICY)
    evidence |= {"deflated_sharpe": verdict.deflated_sharpe, "sharpe_threshold_per_bar": verdict.sharpe_threshold}
    return Judged((*reasons, *verdict.reasons), evidence)


def promote(run: Run, level: Level, *, by: str) -> Promoted:
    """Let the run's strategy trade at ``level`` with the run's configuration; raises `NotPromotable`.

    Whatever of the strategy was at that level goes. The same run again changes nothing.
    """
    with transaction.atomic():
        Client.objects.select_for_update(no_key=True).get(id=run.client_id)
        judged = judge(run, level)
        if judged.reasons:
            raise NotPromotable(judged.reasons)
        sealed = selectors.manifest_of(run)
        assert sealed is not None  # it has been judged by its artifacts
        name = str(run.config["strategy"]["name"])
        before = Promotion.objects.filter(
            client_id=run.client_id, level=level, strategy=name, demoted_at__isnull=True
        ).first()
        digest = registry.find(name, strategies_folder()).sha256
        if before is not None and (before.content_hash, before.strategy_sha256) == (sealed.content_hash, digest):
            return Promoted(before, created=False)
        if before is not None:
            _end(before, by=by, because=f"replaced by run {run.run_hash[:12]}")
        found = Promotion.objects.create(
            id=uuid7(),
            client_id=run.client_id,
            level=level,
            strategy=name,
            strategy_sha256=digest,
            run_hash=run.run_hash,
            content_hash=sealed.content_hash,
            config=run.config,
            evidence=judged.evidence,
            promoted_by=by[:200],
        )
        _note("strategy.promoted", found, {name: str(value) for name, value in judged.evidence.items()})
    found.refresh_from_db()
    return Promoted(found, created=True)


def demote(promotion: Promotion, *, by: str, because: str) -> Promotion:
    """Take a promotion back, and one to live with one to paper; one that has ended stays as it is."""
    with transaction.atomic():
        Client.objects.select_for_update(no_key=True).get(id=promotion.client_id)
        in_force = Promotion.objects.filter(
            client_id=promotion.client_id, strategy=promotion.strategy, demoted_at__isnull=True
        )
        going = in_force.filter(id=promotion.id)
        if going.exists() and promotion.level == Level.PAPER:
            going = in_force
        for one in list(going):
            _end(one, by=by, because=because)
            _note("strategy.demoted", one, {"because": because})
    promotion.refresh_from_db()
    return promotion


def _end(promotion: Promotion, *, by: str, because: str) -> None:
    Promotion.objects.filter(id=promotion.id).update(demoted_at=Now(), demoted_by=by[:200], demoted_because=because)


def _note(action: str, promotion: Promotion, data: dict[str, str]) -> None:
    told = {"strategy": promotion.strategy, "level": promotion.level, "run_hash": promotion.run_hash, **data}
    record(action, client_id=promotion.client_id, subject=f"promotion:{promotion.id}", data=told)


def _validation(run: Run) -> dict[str, Any]:
    """What the run's tests said, from the bytes that its manifest seals."""
    sealed = selectors.manifest_of(run)
    entry = None if sealed is None else sealed.entry("validation.json")
    if entry is None:
        raise manifest.Tampered("validation.json is not in the manifest")
    with services.store().open(run.client_id, run.id, entry) as file:
        found: dict[str, Any] = json.loads(file.read())
    return found


def _against_code(run: Run, config: RunConfig) -> list[Reason]:
    try:
        same = services.code_identity(config) == (run.code_version, run.lock_hash)
    except (UnknownStrategy, BrokenStrategy) as error:
        return [Reason("strategy_unusable", str(error), None, 1.0)]
    if same:
        return []
    return [Reason("outdated", "the code has changed since it was worked out: submit it again", None, 1.0)]


def _against_lookahead(config: RunConfig, said: dict[str, Any]) -> list[Reason]:
    name = config.strategy.name
    if "honest" not in said:
        why = said.get("not_made", "the configuration left it out")
        return [Reason("lookahead_missing", f"{name} has not stood the look-ahead check: {why}", None, 0.0)]
    if said["honest"]:
        return []
    leaks = said["leaks"]
    first = f" ({leaks[0]})" if leaks else ""
    return [Reason("lookahead", f"{name} reads bars that have not happened yet{first}", float(len(leaks)), 0.0)]


def _is_on_paper(run: Run) -> bool:
    on_paper = promoted(run.client_id, str(run.config["strategy"]["name"]), Level.PAPER)
    if on_paper is None:
        return False
    wanted, tested = (RunConfig.model_validate_json(json.dumps(config)) for config in (run.config, on_paper.config))
    return trials.trial_of(wanted) == trials.trial_of(tested)


def _overfitting(client_id: UUID, config: RunConfig) -> float | None:
    """The largest probability of overfitting among the client's sweeps that held ``config``; None without one."""
    rows = Run.objects.filter(client_id=client_id, kind=Kind.SWEEP).exclude(manifest_hash="").order_by("-id")
    found = []
    for row in rows[:MOST_SWEEPS]:
        pbo = (row.metrics or {}).get("overfitting", {}).get("pbo")
        if pbo is not None and holds(SweepConfig.model_validate_json(json.dumps(row.config)), config):
            found.append(float(pbo))
    return max(found, default=None)
