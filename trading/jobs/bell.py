"""The doorbell: a message that says a run may be claimed. Losing it costs time, never the run."""

import time
from collections.abc import Iterable

import structlog
from celery import current_app
from kombu.exceptions import OperationalError

from trading.jobs.ledger import Ring

log = structlog.get_logger("quantum.jobs.bell")

SILENCE_SECONDS = 2.0
"""How long nothing is sent after the broker refused: a caller must not wait for a dead one again and again."""

_silent_until = 0.0


def ring(rings: Iterable[Ring]) -> int:
    """Send a message for each run; how many were sent.

    When the broker cannot be reached the rest is left: the keeper of any worker finds and sends what was not heard.
    """
    global _silent_until
    sent = 0
    for message in rings:
        if time.monotonic() < _silent_until:
            break
        try:
            current_app.send_task(
                message.job, args=(str(message.run_id),), queue=message.queue, ignore_result=True, retry=False
            )
        except (OperationalError, OSError) as error:
            _silent_until = time.monotonic() + SILENCE_SECONDS
            log.warning("bell.silent", error=str(error), run_id=str(message.run_id), job=message.job)
            break
        sent += 1
    return sent
