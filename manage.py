#!/usr/bin/env python
"""Django's command line for Quantum Trader. Commands work for the platform; one that works for a client says so."""

import os
import sys

from django.core.management import execute_from_command_line

from trading.core.scope import platform_scope

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.dev")
    with platform_scope():
        execute_from_command_line(sys.argv)
