"""The notebook's client against the platform over HTTP: what it submits, waits for and reads as data frames."""

import io
from collections.abc import Iterator

import pandas as pd
import pytest
from pytest_django.live_server_helper import LiveServer

from tests.backtests.sweeps.test_sweeps import BODY as SWEEP
from tests.backtests.test_runs import BODY
from tests.jobs.conftest import Hands
from trading.backtests.client import Platform, Refused, Unfinished, Unreachable
from trading.jobs.models import JobRun
from trading.jobs.states import State
from trading.tenants.models import Client, Role, User

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("queues")]


@pytest.fixture
def platform(live_server: LiveServer, alpha: Client) -> Iterator[Platform]:
    User.objects.create_user("ann", password="correct horse battery", client=alpha, role=Role.TRADER)
    with Platform.login(live_server.url, "ann", "correct horse battery") as found:
        yield found


def test_a_run_as_data_frames(platform: Platform) -> None:
    run = platform.run(BODY)
    with pytest.raises(Unfinished, match="still queued"):
        run.wait(seconds=0.0)
    with pytest.raises(Unfinished, match=r"It is queued: call wait\(\) first"):
        run.metrics()
    Hands().work_off()
    told: list[str] = []
    equity = run.wait(told.append).equity()
    assert told[-1].startswith("succeeded")
    assert str(equity["time"].dtype) == "datetime64[ns, UTC]"
    assert equity["equity"].iloc[-1] == run.metrics()["final_equity"]
    plain = pd.read_csv(io.BytesIO(run.artifact("trades.csv")))
    assert run.trades()["pnl"].tolist() == plain["pnl"].tolist()
    assert len(run.fills()) >= len(plain)
    assert list(run.positions().columns) == ["time", "TEST"]
    assert platform.run(BODY) == run


def test_a_sweep_as_data_frames(platform: Platform) -> None:
    sweep = platform.sweep(SWEEP)
    Hands().work_off()
    points = sweep.wait().points()
    best = sweep.summary()["best"]
    assert points["sharpe"].idxmax() == best["point"]
    chart = sweep.heatmap("slow", "fast")
    assert chart.max().max() == best["metrics"]["sharpe"]
    assert chart.shape == (26, 11)
    with pytest.raises(ValueError, match=r"the points have no 'quick'; they have: point, strategy\.params\.fast, "):
        sweep.heatmap("slow", "quick")


def test_what_the_platform_refuses_is_said_in_its_words(platform: Platform, live_server: LiveServer) -> None:
    with pytest.raises(Refused, match=r"body\.strategy\.name: no strategy is called 'nope'") as caught:
        platform.run({**BODY, "strategy": {"name": "nope"}})
    assert caught.value.status == 422
    with pytest.raises(Refused, match="password"):
        Platform.login(live_server.url, "ann", "wrong")
    run = platform.run(BODY)
    JobRun.objects.update(state=State.FAILED, finished_at="2024-01-01T00:00:00Z", rung_at=None, error_type="Full",
                          error_message="the disk is full")  # fmt: skip
    with pytest.raises(Unfinished, match="It failed: the disk is full"):
        run.wait()


def test_where_nothing_answers_the_address_is_named() -> None:
    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:9 does not answer .*make run"):
        Platform.login("http://127.0.0.1:9", "ann", "x")
