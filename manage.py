#!/usr/bin/env python
"""Django's command line for Quantum Trader. Commands work for the platform; one that works for a client says so."""

import os
import sys

from django.core.management import execute_from_command_line
from django.db import OperationalError

from trading.core.scope import platform_scope

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.dev")
    try:
        with platform_scope():
            execute_from_command_line(sys.argv)
    except OperationalError as error:
        if "--traceback" in sys.argv:
            raise
        told = " ".join(str(error).split()).rstrip("?")
        sys.exit(f"The database does not serve: {told}. Start it with make run, or set DATABASE_URL to one that runs.")
