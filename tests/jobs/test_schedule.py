"""Slots, entries, and what several beats do together."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from celery.schedules import schedule as interval
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from django_celery_beat.tzcrontab import TzAwareCrontab

from tests.jobs.sample import NumberArguments, noop
from trading.jobs import schedule
from trading.jobs.models import JobRun
from trading.jobs.registry import Cadence, Job, Step, UnknownJob, registry
from trading.jobs.states import Trigger
from trading.tenants.models import Client


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_the_slot_of_an_interval_is_the_same_for_every_beat_in_it() -> None:
    every_3_minutes = interval(timedelta(seconds=180))
    looks = ["2026-11-21T09:00:00", "2026-11-21T09:00:01", "2026-11-21T09:02:59"]
    slots = {schedule.slot(every_3_minutes, last_run_at=at("2026-11-21T08:00:00"), now=at(look)) for look in looks}
    assert slots == {at("2026-11-21T09:00:00")}
    later = schedule.slot(every_3_minutes, last_run_at=at(looks[0]), now=at("2026-11-21T09:03:00"))
    assert later == at("2026-11-21T09:03:00")


@pytest.mark.parametrize(
    ("last_run", "look", "due"),
    [
        # 09:30 in New York is 14:30 UTC in winter and 13:30 in summer.
        ("2026-01-05T14:30:02", "2026-01-06T14:30:01", "2026-01-06T14:30:00"),
        ("2026-07-06T13:30:02", "2026-07-07T13:31:40", "2026-07-07T13:30:00"),
        # Over the night in which clocks go forward (8 March 2026), and back (1 November 2026).
        ("2026-03-07T14:30:02", "2026-03-08T13:30:05", "2026-03-08T13:30:00"),
        ("2026-10-31T13:30:02", "2026-11-01T14:30:05", "2026-11-01T14:30:00"),
        # A beat that was away for two days looks late: the slot is the first that was missed.
        ("2026-01-05T14:30:02", "2026-01-07T18:00:00", "2026-01-06T14:30:00"),
    ],
)
def test_the_slot_of_a_cron_line_is_its_moment_not_the_look(
    monkeypatch: pytest.MonkeyPatch, last_run: str, look: str, due: str
) -> None:
    opening = TzAwareCrontab(minute="30", hour="9", tz=ZoneInfo("America/New_York"))
    monkeypatch.setattr(opening, "nowfun", lambda: at(look).astimezone(ZoneInfo("America/New_York")))
    assert schedule.slot(opening, last_run_at=at(last_run), now=at(look)) == at(due)


@pytest.fixture
def declared() -> Job:
    job = Job(
        slug="sample-scheduled",
        title="Every three minutes",
        steps=(Step(noop),),
        arguments=NumberArguments,
        cadence=Cadence(seconds=180),
    )
    registry.add(job)
    return job


def redeclare(cadence: Cadence | None) -> None:
    registry.remove("sample-scheduled")
    registry.add(
        Job(
            slug="sample-scheduled",
            title="Every three minutes",
            steps=(Step(noop),),
            arguments=NumberArguments,
            cadence=cadence,
        )
    )


@pytest.fixture(autouse=True)
def _forget_declared() -> object:
    yield
    if "sample-scheduled" in registry.slugs():
        registry.remove("sample-scheduled")


def entry() -> PeriodicTask:
    return PeriodicTask.objects.get(name="sample-scheduled")


def test_an_operator_s_change_stays_until_the_declaration_changes(declared: Job) -> None:
    schedule.sync()
    assert (entry().interval.every, entry().enabled) == (180, True)
    slower, _ = IntervalSchedule.objects.get_or_create(every=600, period=IntervalSchedule.SECONDS)
    PeriodicTask.objects.filter(name="sample-scheduled").update(interval=slower)
    schedule.sync()
    assert entry().interval.every == 600
    redeclare(Cadence(seconds=60))
    schedule.sync()
    assert entry().interval.every == 60
    redeclare(Cadence(seconds=0))
    schedule.sync()
    assert entry().enabled is False
    redeclare(Cadence(cron="30 9 * * 1-5", timezone="America/New_York"))
    schedule.sync()
    assert (entry().enabled, entry().interval, str(entry().crontab.timezone)) == (True, None, "America/New_York")
    redeclare(None)
    schedule.sync()
    assert entry().enabled is False


def test_a_slot_is_enqueued_once_by_however_many_beats(declared: Job) -> None:
    schedule.sync()
    moment = at("2026-11-21T09:00:00")
    assert schedule.enqueue(entry(), moment) == 1
    assert schedule.enqueue(entry(), moment) == 0
    assert schedule.enqueue(entry(), moment + timedelta(seconds=180)) == 1
    run = JobRun.objects.order_by("id").first()
    assert run is not None
    assert (run.trigger, run.triggered_by) == (Trigger.SCHEDULE, "schedule sample-scheduled")


def test_a_per_client_job_has_one_run_for_each_active_client(client_a: Client, client_b: Client) -> None:
    Client.objects.create(name="Closed", is_active=False)
    every, _ = IntervalSchedule.objects.get_or_create(every=60, period=IntervalSchedule.SECONDS)
    task = PeriodicTask.objects.create(name="by hand", task="sample-client", interval=every, kwargs='{"n": 4}')
    assert schedule.enqueue(task, at("2026-11-21T09:00:00")) == 2
    assert schedule.enqueue(task, at("2026-11-21T09:00:00")) == 0
    assert set(JobRun.objects.values_list("client_id", flat=True)) == {client_a.id, client_b.id}
    assert set(JobRun.objects.values_list("args__n", flat=True)) == {4}


def test_an_entry_for_no_job_says_so() -> None:
    every, _ = IntervalSchedule.objects.get_or_create(every=60, period=IntervalSchedule.SECONDS)
    task = PeriodicTask.objects.create(name="left over", task="gone", interval=every)
    with pytest.raises(UnknownJob):
        schedule.enqueue(task, at("2026-11-21T09:00:00"))


def test_next_run(declared: Job, settings: object) -> None:
    schedule.sync()
    task = entry()
    now = datetime.now(UTC)
    task.last_run_at = now - timedelta(seconds=100)
    due = schedule.next_run(task, now)
    assert due is not None and abs((due - now).total_seconds() - 80) < 2
    task.enabled = False
    assert schedule.next_run(task, now) is None
