"""``python -m workers.login LOGIN PARENT``: holds one login at Interactive Brokers. `workers.gateway` starts it."""

import asyncio
import signal
import sys

import django

django.setup()  # models come with what follows

from trading.brokers.adapters.ibkr.process import Holder  # noqa: E402
from workers.gateway import read_wanted  # noqa: E402


def main(login: str, parent: int) -> None:
    """Serve the login until it is not wanted any more, the process is told to stop, or ``parent`` has ended."""
    wanted = read_wanted(login)
    if wanted is None:
        return
    client_id, credentials = wanted
    # The library took this loop when it was imported; a new one would not hear it.
    loop = asyncio.get_event_loop_policy().get_event_loop()
    task = loop.create_task(Holder(login, client_id, credentials, parent).run())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        loop.run_until_complete(task)
    except asyncio.CancelledError:
        return
    finally:
        loop.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m workers.login LOGIN PARENT    (workers.gateway does this)")
    main(sys.argv[1], int(sys.argv[2]))
