"""Promotions: what the rule refuses and why, what it lets go, and that it is taken back; owners only, on record."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.db import IntegrityError, transaction

from tests.backtests.conftest import Send, sender
from tests.jobs.conftest import Hands
from trading.audit.models import AuditEntry
from trading.backtests import promotions, services
from trading.backtests.models import Level, Promotion, Run, Trial
from trading.marketdata import services as marketdata
from trading.marketdata.providers import Bar
from trading.tenants.models import Client, Role

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("queues")]
GOOD: dict[str, Any] = {
    "symbol": "WAVE",
    "timeframe": "1d",
    "start": "2015-01-01",
    "end": "2020-12-31",
    "strategy": {"name": "dual_sma", "params": {"fast": 3, "slow": 12, "short": True}},
    "validation": {"permutation": {"trials": 99}},
}
LEAKING = """
import numpy as np
from trading.backtests.strategy import Strategy
from trading.quant.parameters import Parameters

class Oracle(Parameters):
    pass

def targets(bars, parameters):
    ahead = np.vstack([bars.close[1:], bars.close[-1:]])
    return np.where(ahead > bars.close, 1.0, 0.0)

STRATEGY = Strategy(Oracle, targets, lambda parameters: 0)
"""


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def owner(alpha: Client) -> Send:
    return sender(alpha, Role.OWNER)


@pytest.fixture(autouse=True)
def _waves(db: None) -> None:
    store("WAVE", wave())


def wave() -> np.ndarray:
    """Prices that a crossing of averages knows: a slow wave with a little noise."""
    rng = np.random.default_rng(1)
    found: np.ndarray = 100.0 * np.exp(0.1 * np.sin(np.arange(2_192) * np.pi / 20) + 0.003 * rng.normal(size=2_192))
    return found


def store(symbol: str, closes: Sequence[float] | np.ndarray) -> None:
    first = datetime(2015, 1, 1, tzinfo=UTC)
    prices = [Decimal(f"{close:.4f}") for close in closes]
    bars = (
        Bar(symbol, first + timedelta(days=day), price, price, price, price, Decimal(1000))
        for day, price in enumerate(prices)
    )
    marketdata.store(bars, source="test")


def run_of(send: Send, hands: Hands, body: dict[str, Any] = GOOD) -> str:
    answer = send("POST", "/runs", body)
    assert answer.status_code == 202, answer.content
    hands.work_off()
    run_hash = str(answer.json()["run_hash"])
    assert send("GET", f"/runs/{run_hash}").json()["status"] == "succeeded"
    return run_hash


def promote(send: Send, run_hash: str, level: str = "paper") -> Any:
    return send("POST", "/promotions", {"run_hash": run_hash, "level": level})


def refused(send: Send, run_hash: str, level: str = "paper") -> set[str]:
    answer = promote(send, run_hash, level)
    assert (answer.status_code, answer.json()["detail"]["type"]) == (409, "not_promotable"), answer.content
    return {reason["code"] for reason in answer.json()["detail"]["reasons"]}


def test_a_good_strategy_goes_to_paper_then_live_and_back(alpha: Client, owner: Send, hands: Hands) -> None:
    run_hash = run_of(owner, hands)
    assert refused(owner, run_hash, "live") == {"not_on_paper"}
    assert promotions.promoted(alpha.id, "dual_sma", "paper") is None
    answer = promote(owner, run_hash)
    assert answer.status_code == 201, answer.content
    found = answer.json()
    assert found["evidence"]["trials"] == 1
    assert found["evidence"]["deflated_sharpe"] >= 0.95
    assert promote(owner, run_hash).status_code == 200  # again changes nothing
    on_paper = promotions.promoted(alpha.id, "dual_sma", Level.PAPER)
    assert on_paper is not None
    assert on_paper.config["strategy"]["params"] == {"fast": 3, "slow": 12, "short": True}
    assert promote(owner, run_hash, "live").status_code == 201
    assert promotions.promoted(alpha.id, "dual_sma", "live") is not None
    ended = owner("POST", f"/promotions/{found['id']}/demote", {"reason": "it lost its touch"})
    assert (ended.status_code, ended.json()["demoted_because"]) == (200, "it lost its touch")
    for level in Level:  # what left paper is not live either
        assert promotions.promoted(alpha.id, "dual_sma", level) is None
    actions = AuditEntry.objects.filter(client_id=alpha.id, action__startswith="strategy.").order_by("sequence")
    assert list(actions.values_list("action", flat=True)) == ["strategy.promoted"] * 2 + ["strategy.demoted"] * 2
    listed = owner("GET", "/promotions").json()["results"]
    assert {row["level"] for row in listed} == {"paper", "live"}
    assert promote(owner, run_hash).status_code == 201  # and forth again


def test_another_configuration_takes_its_place(alpha: Client, owner: Send, hands: Hands) -> None:
    first = run_of(owner, hands)
    promote(owner, first)
    Trial.objects.all().delete()  # as if each had been the only one
    second = run_of(owner, hands, {**GOOD, "execution": {"fee_bps": 1}})
    Trial.objects.exclude(id=Trial.objects.latest("id").id).delete()
    assert promote(owner, second).status_code == 201
    found = promotions.promoted(alpha.id, "dual_sma", "paper")
    assert found is not None
    assert found.run_hash == second
    assert Promotion.objects.get(run_hash=first).demoted_because.startswith("replaced by run")
    with pytest.raises(IntegrityError), transaction.atomic():
        Promotion.objects.filter(run_hash=first).update(demoted_at=None)


def test_a_leaking_strategy_is_named_and_goes_nowhere(owner: Send, hands: Hands, settings: Any, tmp_path: Path) -> None:
    settings.QT_STRATEGIES_DIR = str(tmp_path)
    (tmp_path / "oracle.py").write_text(LEAKING)
    run_hash = run_of(owner, hands, {**GOOD, "strategy": {"name": "oracle"}})
    answer = promote(owner, run_hash)
    assert answer.status_code == 409
    (reason,) = answer.json()["detail"]["reasons"]
    assert reason["code"] == "lookahead"
    assert "oracle reads bars that have not happened yet" in reason["message"]
    run_of(owner, hands)
    honest, leaking = owner("GET", "/runs").json()["results"]
    assert honest["leaks"] == 0
    assert leaking["leaks"] == leaking["metrics"]["leaks"] > 0
    assert not Promotion.objects.exists()


def test_a_strategy_whose_file_has_changed_is_not_the_one_that_was_promoted(
    alpha: Client, owner: Send, hands: Hands, settings: Any, tmp_path: Path
) -> None:
    settings.QT_STRATEGIES_DIR = str(tmp_path)
    honest = LEAKING.replace("bars.close[1:], bars.close[-1:]", "bars.close[:1], bars.close[:-1]").replace(
        "ahead > bars.close", "ahead < bars.close"
    )
    (tmp_path / "oracle.py").write_text(honest)
    run_hash = run_of(owner, hands, {**GOOD, "strategy": {"name": "oracle"}})
    assert promote(owner, run_hash).status_code == 201
    assert promotions.promoted(alpha.id, "oracle", "paper") is not None
    (tmp_path / "oracle.py").write_text(honest + "\n# a word\n")
    assert promotions.promoted(alpha.id, "oracle", "paper") is None
    assert "outdated" in refused(owner, run_hash)
    (tmp_path / "oracle.py").unlink()
    assert promotions.promoted(alpha.id, "oracle", "paper") is None
    assert "outdated" in refused(owner, run_hash)


def test_what_has_not_ended_well_is_told_from_what_may_not_trade(owner: Send) -> None:
    (reason,) = promote(owner, owner("POST", "/runs", GOOD).json()["run_hash"]).json()["detail"]["reasons"]
    assert reason["code"] == "not_finished"
    assert "submit it again if it failed" in reason["message"]


def test_every_missing_number_is_asked_for(owner: Send, hands: Hands) -> None:
    bare = run_of(owner, hands, {**GOOD, "validation": {"lookahead": False}})
    assert refused(owner, bare) == {"lookahead_missing", "permutation_missing"}
    run_of(owner, hands, {**GOOD, "execution": {"fee_bps": 1}})  # a second trial, and no sweep
    assert "overfitting_missing" in refused(owner, run_of(owner, hands))


def test_what_was_found_by_a_sweep_brings_the_sweeps_overfitting(owner: Send, hands: Hands) -> None:
    base = {name: value for name, value in GOOD.items() if name != "validation"}
    sweep = {"config": base, "parameters": {"fast": [2, 3, 4], "slow": [10, 12]}, "blocks": 8}
    sweep_hash = owner("POST", "/sweeps", sweep).json()["sweep_hash"]
    hands.work_off()
    pbo = owner("GET", f"/sweeps/{sweep_hash}").json()["summary"]["overfitting"]["pbo"]
    judged = promotions.judge(Run.objects.get(run_hash=run_of(owner, hands)))
    assert (judged.evidence["pbo"], judged.evidence["trials"]) == (pbo, 6)
    outside = run_of(owner, hands, {**GOOD, "strategy": {"name": "dual_sma", "params": {"fast": 5, "slow": 12}}})
    assert promotions.judge(Run.objects.get(run_hash=outside)).evidence["pbo"] is None


def test_changed_artifacts_prove_nothing(alpha: Client, owner: Send, hands: Hands) -> None:
    run_hash = run_of(owner, hands)
    path = services.store().folder(alpha.id, Run.objects.get().id) / "validation.json"
    path.write_bytes(path.read_bytes().replace(b"true", b"null", 1))
    answer = promote(owner, run_hash)
    assert (answer.status_code, answer.json()["detail"]["type"]) == (500, "artifact_corrupt")


def test_only_owners_promote_and_only_their_own(alpha: Client, ann: Send, bob: Send, owner: Send, hands: Hands) -> None:
    run_hash = run_of(owner, hands)
    assert promote(ann, run_hash).status_code == 403
    beta = sender(Client.objects.get(name="Beta"), Role.OWNER)
    assert promote(beta, run_hash).status_code == 404
    promotion = promote(owner, run_hash).json()["id"]
    for method, path in (("GET", ""), ("POST", "/demote")):
        assert beta(method, f"/promotions/{promotion}{path}", {"reason": "x"}).status_code == 404
    assert beta("GET", "/promotions").json()["results"] == []
    assert ann("GET", f"/promotions/{promotion}").status_code == 200
    assert ann("POST", f"/promotions/{promotion}/demote", {"reason": "x"}).status_code == 403


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({}, "run_hash"),
        ({"run_hash": "x" * 64, "level": "paper"}, "run_hash"),
        ({"run_hash": "a" * 64, "level": "moon"}, "level"),
        ({"run_hash": "a" * 64, "level": "paper", "force": True}, "force"),
    ],
)
def test_what_is_no_request_says_where(owner: Send, body: dict[str, Any], loc: str) -> None:
    answer = owner("POST", "/promotions", body)
    assert answer.status_code == 422
    assert ["body", loc] in [error["loc"] for error in answer.json()["detail"]["errors"]]
