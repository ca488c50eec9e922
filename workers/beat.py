"""``python -m workers.beat``: runs the schedule."""

import django

from trading.core.scope import platform_scope
from trading.operations import checks
from workers.celery import app


def main() -> None:
    """Run beat until it is told to stop."""
    django.setup()
    checks.require()
    with platform_scope():
        app.Beat(quiet=True, loglevel="WARNING").run()


if __name__ == "__main__":
    main()
