"""``/runs/{hash}/events``: the life of a backtest as server-sent events, replayed from any of them."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from rest_framework.exceptions import APIException

from trading.backtests.api import run_of
from trading.backtests.models import Kind, Run
from trading.core import errors
from trading.core.scope import scope_of_run
from trading.jobs import events
from trading.jobs.api import caller
from trading.jobs.models import JobRun
from trading.jobs.states import FINAL, State
from trading.tenants.access import admitted
from trading.tenants.permissions import Permission, needs
from trading.tenants.scope import scope_of

_ID = re.compile(r"([0-9]{1,9})\.([0-3])")
Id = tuple[int, int]
"""The attempt's number and what became of it: 0 queued, 1 started, 2 ended, 3 the run has ended."""


@dataclass(frozen=True)
class Event:
    """Something that happened to the run and stays true."""

    id: Id
    name: str
    data: dict[str, Any]

    def encoded(self) -> bytes:
        """As the stream carries it."""
        return f"id: {self.id[0]}.{self.id[1]}\nevent: {self.name}\ndata: {json.dumps(self.data)}\n\n".encode()


@dataclass(frozen=True)
class Seen:
    """What has happened so far, how far the step is, and whether there is more to come."""

    events: Sequence[Event]
    progress: dict[str, Any]
    ended: bool


@needs(GET=Permission.SEE_ACCOUNT)
async def run_events(request: HttpRequest, run_hash: str) -> HttpResponse | StreamingHttpResponse:
    """Stream what happens to the run: ``queued``, ``started`` and ``finished`` for each step, ``progress``, ``end``.

    With ``Last-Event-ID`` what came up to that event is left out; 204 when nothing is left, so that a browser stops.
    """
    return await _told(request, run_hash, Kind.RUN)


@needs(GET=Permission.SEE_ACCOUNT)
async def sweep_events(request: HttpRequest, sweep_hash: str) -> HttpResponse | StreamingHttpResponse:
    """As `run_events`, of a sweep; ``progress`` counts the parts that have been worked out."""
    return await _told(request, sweep_hash, Kind.SWEEP)


async def _told(request: HttpRequest, run_hash: str, kind: Kind) -> HttpResponse | StreamingHttpResponse:
    try:
        if request.method != "GET":
            raise errors.ApiError(405, "method_not_allowed", "Only GET is answered here.", headers={"Allow": "GET"})
        watched = await sync_to_async(_check)(request, run_hash, kind)
        after = _last_id(request)
        seen = await sync_to_async(look)(watched)
        if seen is not None and seen.ended and all(event.id <= after for event in seen.events):
            return HttpResponse(status=204)
        place = events.take_place()
    except (errors.ApiError, APIException) as error:
        answer = errors.translate(error)
        return errors.as_json(answer) if answer is not None else errors.server_error()
    return events.stream(place, _stream(watched, after, place))


@dataclass(frozen=True)
class Watched:
    """A run, and the client in whose scope it is watched; None for the platform's."""

    run_id: UUID
    client_id: UUID | None


def _check(request: HttpRequest, run_hash: str, kind: Kind) -> Watched:
    try:
        who = caller(admitted(request, Permission.SEE_ACCOUNT))
        with scope_of(who):
            return Watched(run_of(who, run_hash, kind).id, who.client_id)
    finally:
        connections.close_all()


def _last_id(request: HttpRequest) -> Id:
    found = _ID.fullmatch(request.headers.get("Last-Event-ID", ""))
    return (int(found[1]), int(found[2])) if found else (-1, 0)


def look(watched: Watched) -> Seen | None:
    """The run as it stands; None when it has been pruned."""
    try:
        with scope_of_run(watched.client_id):
            run = Run.objects.filter(id=watched.run_id).first()
            return None if run is None else life(run)
    finally:
        connections.close_all()  # a stream holds no connection while it waits


def life(run: Run) -> Seen:
    """What has happened to ``run``, from the ledger's record of its attempts."""
    job = JobRun.objects.filter(id=run.job_run_id or UUID(int=0)).first()
    happened = [Event((0, 0), "queued", {f"{run.kind}_hash": run.run_hash, "at": _at(run.created_at)})]
    last = 0
    for attempt in job.attempts.order_by("number") if job is not None else ():
        last = attempt.number
        data = {"step": attempt.step, "attempt": attempt.attempt}
        happened.append(Event((last, 1), "started", {**data, "at": _at(attempt.started_at)}))
        if attempt.finished_at is not None:
            ending = {"outcome": attempt.outcome, "error": attempt.error_message or None}
            happened.append(Event((last, 2), "finished", {**data, "at": _at(attempt.finished_at), **ending}))
    state = State.SUCCEEDED if run.manifest_hash else State.FAILED if job is None else State(job.state)
    ended = state in FINAL
    if ended:
        at = run.finished_at or (job.finished_at if job is not None else None)
        data = {"status": state.value, "at": _at(at), "manifest_hash": run.manifest_hash or None}
        happened.append(Event((last, 3), "end", data))
    progress = (
        {}
        if job is None or not job.progress_total
        else {"step": job.step, "done": job.progress_done, "total": job.progress_total, "note": job.progress_note}
    )
    return Seen(happened, progress, ended)


def _at(moment: Any) -> str | None:
    return None if moment is None else str(moment.isoformat()).replace("+00:00", "Z")


async def _stream(watched: Watched, after: Id, place: events.Place) -> AsyncIterator[bytes]:
    try:
        began = spoke = time.monotonic()
        progress: dict[str, Any] = {}
        while time.monotonic() - began < events.LONGEST_SECONDS:
            seen = await sync_to_async(look)(watched)
            if seen is None:
                return
            told = [event for event in seen.events if event.id > after]
            for event in told:
                yield event.encoded()
                after = event.id
            if seen.ended:
                return
            moved = bool(seen.progress) and seen.progress != progress
            if moved:
                yield f"event: progress\ndata: {json.dumps(seen.progress)}\n\n".encode()
                progress = seen.progress
            if told or moved:
                spoke = time.monotonic()
            elif time.monotonic() - spoke > events.KEEP_ALIVE_SECONDS:
                yield b": still here\n\n"
                spoke = time.monotonic()
            await asyncio.sleep(events.POLL_SECONDS)
    finally:
        place.leave()
