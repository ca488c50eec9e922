"""A run's chain as screens show it: each step with its state, tries and times."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from trading.jobs.models import JobAttempt, JobRun
from trading.jobs.states import State

WAITING = "waiting"


@dataclass(frozen=True)
class Link:
    """One step of a run. ``state`` is the run's for the step that it stands at, ``waiting`` for those after it."""

    name: str
    state: str
    tries: int
    started_at: datetime | None
    finished_at: datetime | None
    returned: Any
    error_type: str
    error: str

    @property
    def took(self) -> timedelta | None:
        """From the first try's start to the last one's end."""
        if self.started_at is None or self.finished_at is None:
            return None
        return self.finished_at - self.started_at


def links(run: JobRun, attempts: Sequence[JobAttempt]) -> list[Link]:
    """The steps of ``run`` in order, given all its attempts, oldest first."""
    chain = []
    for index, name in enumerate(run.steps):
        own = [attempt for attempt in attempts if attempt.step == name]
        if index < run.step_index or run.state == State.SUCCEEDED:
            state = State.SUCCEEDED.value
        elif index == run.step_index:
            state = run.state
        else:
            state = WAITING
        fell = own and state not in (State.SUCCEEDED, WAITING)
        chain.append(
            Link(
                name=name,
                state=state,
                tries=len(own),
                started_at=own[0].started_at if own else None,
                finished_at=own[-1].finished_at if own else None,
                returned=run.returned.get(name),
                error_type=own[-1].error_type if fell else "",
                error=own[-1].error_message if fell else "",
            )
        )
    return chain


def shown_span(span: timedelta | None) -> str:
    """A length of time for people: 0.25 s, 3 min 20 s, 5 h 2 min."""
    if span is None:
        return "-"
    seconds = max(span.total_seconds(), 0.0)
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min {int(seconds % 60)} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
