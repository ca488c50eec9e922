"""Stopping a step from outside: a signal to its process, which takes effect only inside the step.

Anywhere else, while a claim or an ending is being written, the signal waits, so that no write is cut in two.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNAL = signal.SIGUSR2


class Interrupted(KeyboardInterrupt):
    """The step was asked to stop.

    Not an `Exception`, so that a step which catches those does not swallow it; and of the kind for which psycopg
    cancels the statement that it waits for.
    """


_inside = False
_pending = False


def _interrupt(signum: int, frame: FrameType | None) -> None:
    global _inside, _pending
    if _inside:
        _inside = False  # once: raised again it could cut short what the first one set off
        raise Interrupted
    _pending = True


def install() -> None:
    """Listen for the signal; called in the main thread of a process that runs steps."""
    signal.signal(SIGNAL, _interrupt)


def forget() -> None:
    """Drop a signal that was meant for an attempt which has ended."""
    global _pending
    _pending = False


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, the signal raises `Interrupted`, also one that came just before."""
    global _inside
    _inside = True
    try:
        if _pending:
            raise Interrupted
        yield
    finally:
        _inside = False
