"""One database with the platform's tables, of which each process of the tests has a copy: it is migrated once."""

import fcntl

import psycopg
from django.core.management import call_command
from django.db import connection

from runtime.folder import DataFolder
from runtime.postgres import ROLE, PostgresServer

NAME = "quantum_migrated"


def template() -> str:
    """Its name; the first process that asks makes it, and the others wait for that."""
    folder = DataFolder.from_environment()
    superuser = psycopg.connect(PostgresServer(folder).url("postgres", "postgres"), autocommit=True)
    with (folder.root / "migrated.lock").open("w") as lock, superuser:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if superuser.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME]).fetchone() is None:
            superuser.execute(f"CREATE DATABASE {NAME} OWNER {ROLE}".encode())
            own, connection.settings_dict["NAME"] = connection.settings_dict["NAME"], NAME
            try:
                call_command("migrate", verbosity=0)
            finally:
                connection.close()
                connection.settings_dict["NAME"] = own
    return NAME
