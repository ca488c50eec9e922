"""What the platform's rule says of a run, in words that say what to do next; the strategies that trade by it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect

from trading.backtests import following, promotions, selectors
from trading.backtests.models import Level, Promotion, Run
from trading.jobs.access import is_operator
from trading.tenants.permissions import Permission, allows
from trading.web.access import PageRequest

WHERE: Final[Mapping[Level, str]] = {Level.PAPER: "on paper", Level.LIVE: "live"}
MOST: Final = 50
"""Promotions in force that the list shows."""
NEXT: Final[Mapping[str, str]] = {
    "deflated_sharpe": "Test over more years, or bring another idea: each further trial on this market raises the bar.",
    "permutation": "Its timing does not show: change the rule rather than its parameters.",
    "permutation_missing": "Submit it again with a permutation test.",
    "overfitting": "The search chooses badly: search fewer parameters, or a coarser grid, or more years.",
    "overfitting_missing": "Submit a sweep of this configuration whose grid holds these parameters.",
    "lookahead": "Have the strategy use bars up to its own alone, then submit it again.",
    "lookahead_missing": "Submit it again with the look-ahead check, over enough bars for it.",
    "outdated": "Submit it again, so that it is worked out by the code that would trade.",
    "strategy_unusable": "Put the strategy's file in order, then submit it again.",
    "no_record": "Choose other parameters or other years.",
}
"""What to do about each reason of the rule, by its code."""
HELPED_BY_ANOTHER_RUN: Final = frozenset({"permutation_missing", "lookahead_missing", "outdated"})


@dataclass(frozen=True)
class Verdict:
    """What a run's page shows of the rule, for the level that comes next; ``level`` is None when it is everywhere."""

    run: Run
    level: Level | None
    reasons: list[tuple[str, str]]
    figures: list[tuple[str, str, str]]
    standing: list[Promotion]
    obstacle: str
    again: str
    may_promote: bool

    @property
    def where(self) -> str:
        """The level in words."""
        return "" if self.level is None else WHERE[self.level]

    @property
    def is_open(self) -> bool:
        """Whether nothing speaks against the level."""
        return self.level is not None and not self.reasons


def verdict(request: PageRequest, run: Run) -> Verdict:
    """What speaks for and against a finished run. Raises `trading.backtests.manifest.Tampered`."""
    sealed = selectors.manifest_of(run)
    content = "" if sealed is None else sealed.content_hash
    rows = Promotion.objects.filter(client_id=run.client_id, content_hash=content, demoted_at__isnull=True)
    standing = sorted(rows, key=lambda one: list(Level).index(Level(one.level)))
    level = next((one for one in Level if one not in {there.level for there in standing}), None)
    judged = promotions.judge(run, level or Level.PAPER)
    codes = {reason.code for reason in judged.reasons}
    config = json.loads(json.dumps(run.config))
    validation = {"permutation": {}, **config.get("validation", {}), "lookahead": True}
    return Verdict(
        run=run,
        level=level,
        reasons=[(f"{reason.message}.", NEXT.get(reason.code, "")) for reason in judged.reasons],
        figures=_figures(run, judged.evidence),
        standing=standing,
        obstacle=following.obstacle(following.config_of(run)),
        again=json.dumps({**config, "validation": validation}, indent=2) if codes & HELPED_BY_ANOTHER_RUN else "",
        may_promote=allows(Permission.PROMOTE, request.user),
    )


def _figures(run: Run, evidence: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Names, values and what each is compared with."""
    if not evidence:
        return []
    least = 1.0 - evidence["alpha"]
    deflated, threshold = evidence.get("deflated_sharpe"), evidence.get("sharpe_threshold_per_bar")
    metrics = run.metrics or {}
    found = []
    if deflated is not None and threshold is not None:
        luck = threshold * metrics["periods_per_year"] ** 0.5
        among = f"as the best of {evidence['trials']} tried here" if evidence["trials"] > 1 else "as the only one tried"
        note = f"chance that it is real, {among}; luck gives {luck:.2f} a year; {least:.0%} is asked for"
        found.append(("Deflated Sharpe ratio", f"{deflated:.1%}", note))
    error, ratio = metrics.get("sharpe_standard_error"), metrics.get("sharpe")
    if error is not None and ratio is not None:
        note = f"{ratio - 1.96 * error:.2f} to {ratio + 1.96 * error:.2f} at 95%, had it been the only one"
        found.append(("Sharpe ratio a year", f"{ratio:.2f}", note))
    p_value, pbo = evidence["permutation_p"], evidence["pbo"]
    found.append(("Permutation p", "-" if p_value is None else f"{p_value:.3f}", f"{evidence['alpha']:.3f} at most"))
    note = f"worst of the sweeps that held it; {evidence['pbo_bound']:.0%} at most"
    found.append(("Probability of overfitting", "-" if pbo is None else f"{pbo:.1%}", note))
    return found


def in_force(request: PageRequest) -> dict[str, Any]:
    """The strategies that trade, newest first, and whether a cycle follows them; for the list of backtests."""
    rows = selectors.visible_promotions(request.user).select_related("client").filter(demoted_at__isnull=True)
    found = list(rows.order_by("-promoted_at", "-id")[:MOST])
    newest: dict[tuple[UUID, str], UUID] = {}
    for one in found:
        newest.setdefault((one.client_id, one.level), one.id)
    hashes = selectors.visible(request.user).filter(run_hash__in={one.run_hash for one in found})
    return {
        "promoted": [(one, _followed(one, newest[one.client_id, one.level] == one.id)) for one in found],
        "not_pruned": set(hashes.values_list("run_hash", flat=True)),
        "may_promote": allows(Permission.PROMOTE, request.user),
    }


def _followed(promotion: Promotion, is_newest: bool) -> str:
    """Whether cycles follow it, and why not."""
    venue = settings.QT_EXECUTION_EXCHANGE
    level = following.level_of(venue)
    if promotion.level != level:
        return f"Waits: cycles trade at {venue}, which is {WHERE[level]}."
    if not is_newest:
        return "Waits: cycles follow the newest one."
    if why := following.unfollowable(promotion):
        return f"Not followed. {why}"
    return "Followed by each cycle."


def demote(request: PageRequest, promotion_id: UUID) -> HttpResponse:
    """Take a promotion back; one that has ended stays as it is. Raises `Http404`."""
    found = selectors.visible_promotions(request.user).filter(id=promotion_id).first()
    if found is None or is_operator(request.user):
        raise Http404("There is no such promotion.")
    reason = request.POST.get("reason", "").strip()
    if not reason or len(reason) > 500:
        messages.error(request, "Say why it is withdrawn, in 500 characters at most.")
    elif found.demoted_at is not None:
        messages.info(request, "It had been withdrawn already.")
    else:
        promotions.demote(found, by=request.user.get_username(), because=reason)
        also = ", live too" if found.level == Level.PAPER else ""
        messages.success(request, f"{found.strategy} is withdrawn{also}: the next cycle does not follow it.")
    return redirect("web:backtests")  # its run may have been pruned
