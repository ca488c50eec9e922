"""The logins of the database: the schema's owner, the application, the operators.

The owner migrates. The application and the operators' processes log in as roles that own nothing and cannot pass by
row security; both are made by whoever has the right to, once: ``python -m runtime.roles`` with ``DATABASE_URL``.
"""

import hashlib
import hmac
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import environ
import psycopg
from psycopg import sql

from runtime.folder import PROJECT_DIR

RIGHTS = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT"


class RolesError(RuntimeError):
    """The roles could not be made; the message says what to do."""


def names(database: str) -> dict[str, str]:
    """The logins that serve ``database``, by what they are for."""
    return {"app": f"{database}_app", "operator": f"{database}_operator"}


def password(role: str, secret: str) -> str:
    """The password of ``role``, which follows from ``SECRET_KEY``: one secret less to keep."""
    return hmac.new(secret.encode(), f"database role {role}".encode(), hashlib.sha256).hexdigest()


def make(connection: psycopg.Connection[Any], roles: Mapping[str, str | None]) -> None:
    """Create each role, or set an existing one right, with its password; None where the server asks for none."""
    for role, secret in roles.items():
        exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
        statement = sql.SQL("{} ROLE {} " + RIGHTS).format(
            sql.SQL("ALTER" if exists else "CREATE"), sql.Identifier(role)
        )
        if secret is not None:
            statement += sql.SQL(" PASSWORD {}").format(sql.Literal(secret))
        connection.execute(statement)


def ensure(url: str, secret: str) -> None:
    """Make the logins of the database of ``url`` over the connection that it describes.

    Raises `RolesError` when that one may not.
    """
    told = environ.Env.db_url_config(url)
    roles = names(told["NAME"])
    words = {"host": told["HOST"], "port": told["PORT"], "user": told["USER"], "password": told["PASSWORD"]}
    given = {name: str(value) for name, value in words.items() if value}
    wanted = {role: password(role, secret) for role in roles.values()}
    with psycopg.connect(
        **{**told.get("OPTIONS", {}), **given}, dbname=told["NAME"], connect_timeout=5, autocommit=True
    ) as connection:
        if _can_log_in(told, given, wanted):
            return
        try:
            make(connection, wanted)
        except psycopg.errors.InsufficientPrivilege:
            lines = "\n".join(f"  CREATE ROLE {role} {RIGHTS} PASSWORD '...';" for role in wanted)
            raise RolesError(
                f"{told['USER']} may not create the logins that the application works through. Let an administrator of"
                " the server run this with `DATABASE_URL` naming an account that may, once:\n"
                "  DATABASE_URL=... python -m runtime.roles\n"
                "or create them by hand, and give their addresses in DATABASE_APP_URL and DATABASE_OPERATOR_URL:\n"
                f"{lines}"
            ) from None


def _can_log_in(told: Mapping[str, Any], given: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    for role, secret in wanted.items():
        words = {**told.get("OPTIONS", {}), **given, "user": role, "password": secret}
        try:
            psycopg.connect(**words, dbname=told["NAME"], connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
    return True


def main() -> None:
    """Make the roles of ``DATABASE_URL``."""
    environ.Env.read_env(Path(PROJECT_DIR) / ".env")
    url, secret = os.environ.get("DATABASE_URL", ""), os.environ.get("SECRET_KEY", "")
    if not url or not secret:
        sys.exit("Set DATABASE_URL, an account that may create roles, and SECRET_KEY, as the application has it.")
    try:
        ensure(url, secret)
    except (RolesError, psycopg.Error) as error:
        sys.exit(str(error))
    sys.stdout.write("The logins are there.\n")


if __name__ == "__main__":
    main()
