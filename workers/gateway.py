"""``python -m workers.gateway``: one process for each login at Interactive Brokers that is in use.

It looks at what callers want, and starts ``workers.login`` for each, again when one has ended. While
nobody wants any, it waits for the doorbell. On several hosts a lease decides whose process holds a login; the others
wait for it.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import redis
import structlog
from django.conf import settings

from trading.brokers.adapters.ibkr import channel
from trading.brokers.adapters.ibkr.login import IbkrCredentials

log = structlog.get_logger("quantum.gateway")

LOOK_SECONDS = 1.0
IDLE_SECONDS = 5.0
FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 10.0
STEADY_SECONDS = 30.0
STOP_SECONDS = 5.0


@dataclass
class Child:
    """A login's process, or when the next may be started."""

    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    start_at: float = 0.0
    delay: float = FIRST_DELAY_SECONDS


class Gateways:
    """Keeps a process for each login that is wanted."""

    def __init__(self) -> None:
        self._children: dict[str, Child] = {}
        self._is_stopping = False

    def run(self) -> None:
        """Look after them until told to stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            while not self._is_stopping:
                try:
                    self._look()
                except redis.RedisError as error:
                    log.warning("gateway.no_redis", error=str(error))
                    time.sleep(LOOK_SECONDS)
        finally:
            self._end_all()

    def _stop(self, number: int, frame: object) -> None:
        self._is_stopping = True

    def _look(self) -> None:
        wanted = {raw.decode() if isinstance(raw, bytes) else raw for raw in channel.client().hkeys(channel.WANTED)}
        for login in wanted | self._children.keys():
            self._tend(login, is_wanted=login in wanted)
        if settings.QT_HEARTBEAT_FILE:
            Path(settings.QT_HEARTBEAT_FILE).touch()
        channel.client().blpop([channel.DOORBELL], timeout=LOOK_SECONDS if self._children else IDLE_SECONDS)

    def _tend(self, login: str, *, is_wanted: bool) -> None:
        child = self._children.setdefault(login, Child())
        now = time.monotonic()
        if child.process is not None:
            if child.process.poll() is None:
                return
            steady = now - child.started_at > STEADY_SECONDS
            child.delay = FIRST_DELAY_SECONDS if steady else min(child.delay * 2, LONGEST_DELAY_SECONDS)
            child.process, child.start_at = None, now + child.delay
        if not is_wanted or read_wanted(login) is None:
            channel.client().hdel(channel.WANTED, login)
            del self._children[login]
        elif now >= child.start_at:
            command = [sys.executable, "-m", "workers.login", login, str(os.getpid())]
            child.process = subprocess.Popen(command)  # noqa: S603  # what is wanted is signed
            child.started_at = now

    def _end_all(self) -> None:
        living = [child.process for child in self._children.values() if child.process is not None]
        for process in living:
            with suppress(ProcessLookupError):
                process.terminate()
        for process in living:
            try:
                process.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def read_wanted(login: str) -> tuple[UUID, IbkrCredentials] | None:
    """Whose login it is and what opens it; None once nobody has asked for long, or what stands there is not ours."""
    client_id = login.partition(":")[0]  # as `key_of` puts it
    entry = channel.client().hget(channel.WANTED, login)
    found = channel.stands(entry, login, channel.client().get(channel.CURRENT + client_id))
    if found is None:
        return None
    return UUID(found["client_id"]), IbkrCredentials.model_validate(found["credentials"])


if __name__ == "__main__":
    Gateways().run()
