"""``/jobs/runs/{id}/events``: a run's progress as server-sent events, until it ends."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from rest_framework.exceptions import APIException

from trading.core import errors
from trading.core.scope import scope_of_run
from trading.jobs.api import caller, run_of
from trading.jobs.models import JobRun
from trading.jobs.states import FINAL, State
from trading.tenants.access import admitted
from trading.tenants.permissions import Permission, needs
from trading.tenants.scope import scope_of

POLL_SECONDS = 0.5
KEEP_ALIVE_SECONDS = 15.0
LONGEST_SECONDS = 3600.0
MOST_STREAMS = 100

SHOWN = (
    "state",
    "steps",
    "step_index",
    "attempt",
    "progress_done",
    "progress_total",
    "progress_note",
    "error_message",
)

_open_streams = 0


class Place:
    """One of the streams that may be open; left once, whether its stream ends or never begins."""

    def __init__(self) -> None:
        global _open_streams
        _open_streams += 1
        self._taken = True

    def leave(self) -> None:
        """Let another in."""
        global _open_streams
        if self._taken:
            self._taken = False
            _open_streams -= 1


class EventStream(StreamingHttpResponse):
    """Leaves its place also when the client is gone before the first event."""

    def __init__(self, place: Place, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._place = place

    def close(self) -> None:
        """Called by the server when it is done with the response."""
        self._place.leave()
        super().close()


def take_place() -> Place:
    """A place for one more stream; 429 when all are taken.

    It is taken before the first byte is asked for: many may be opened at once.
    """
    if _open_streams >= MOST_STREAMS:
        message = "Too many streams are open; poll the run instead."
        raise errors.ApiError(429, "too_many_streams", message, headers={"Retry-After": "30"})
    return Place()


def stream(place: Place, events: AsyncIterator[bytes]) -> EventStream:
    """The response that carries ``events``."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return EventStream(place, events, content_type="text/event-stream", headers=headers)


@needs(GET=Permission.SEE_RUNS)
async def run_events(request: HttpRequest, run_id: UUID) -> HttpResponse | StreamingHttpResponse:
    """Stream the run's state, step and progress whenever they change; the event ``end`` is the last."""
    try:
        if request.method != "GET":
            raise errors.ApiError(405, "method_not_allowed", "Only GET is answered here.", headers={"Allow": "GET"})
        client_id = await sync_to_async(_check)(request, run_id)
        place = take_place()
    except (errors.ApiError, APIException) as error:
        answer = errors.translate(error)
        return errors.as_json(answer) if answer is not None else errors.server_error()
    return stream(place, _stream(run_id, client_id, place))


def _check(request: HttpRequest, run_id: UUID) -> UUID | None:
    """The client in whose scope the run is watched; None for the platform's."""
    try:
        who = caller(admitted(request, Permission.SEE_RUNS))
        with scope_of(who):
            run_of(who, run_id)
        return who.client_id
    finally:
        connections.close_all()


def _look(run_id: UUID, client_id: UUID | None) -> dict[str, Any] | None:
    try:
        with scope_of_run(client_id):
            run = JobRun.objects.filter(id=run_id).only(*SHOWN).first()
        if run is None:
            return None
        return {
            "state": run.state,
            "step": run.step,
            "attempt": run.attempt,
            "progress": {"done": run.progress_done, "total": run.progress_total, "note": run.progress_note},
            "error": run.error_message or None,
        }
    finally:
        connections.close_all()  # a stream holds no connection while it waits


async def _stream(run_id: UUID, client_id: UUID | None, place: Place) -> AsyncIterator[bytes]:
    try:
        began = spoke = time.monotonic()
        shown: dict[str, Any] | None = None
        number = 0
        while time.monotonic() - began < LONGEST_SECONDS:
            seen = await sync_to_async(_look)(run_id, client_id)
            if seen is None:
                break
            if seen != shown:
                number += 1
                ended = State(seen["state"]) in FINAL
                yield _event(number, "end" if ended else "progress", seen)
                shown, spoke = seen, time.monotonic()
                if ended:
                    break
            elif time.monotonic() - spoke > KEEP_ALIVE_SECONDS:
                yield b": still here\n\n"
                spoke = time.monotonic()
            await asyncio.sleep(POLL_SECONDS)
    finally:
        place.leave()


def _event(number: int, name: str, data: dict[str, Any]) -> bytes:
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()
