"""The servers of the test session: who the application is, and how a copy of its own behaves."""

from pathlib import Path

import psycopg

from runtime.folder import DataFolder
from runtime.postgres import PostgresServer
from runtime.valkey import ValkeyServer


def test_application_role_cannot_bypass_row_security() -> None:
    server = PostgresServer(DataFolder.from_environment())
    with psycopg.connect(server.url()) as connection:
        row = connection.execute(
            "SELECT rolsuper, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
    assert row == (False, False, False)


def test_committed_rows_survive_a_kill_and_a_second_start_attaches(tmp_path: Path) -> None:
    with PostgresServer(DataFolder(tmp_path / "data")) as server:
        with psycopg.connect(server.url()) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        server.kill()
        assert not server.is_ready()
        assert server.start()
        assert not PostgresServer(server.folder).start()
        with psycopg.connect(server.url()) as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (7,)


def test_valkey_restarts_after_a_kill_and_forgets_on_flush(tmp_path: Path) -> None:
    with ValkeyServer(DataFolder(tmp_path / "data")) as server:
        server.kill()
        assert not server.is_ready()
        assert server.start()
        server.flush()
        assert not ValkeyServer(server.folder).start()
