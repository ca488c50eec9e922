"""One Postgres and one Valkey for the whole test session, in the folder of config/settings/test.py."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest
from _pytest.nodeid import NodeId
from django.db import connection
from django.test import TransactionTestCase
from hypothesis import settings
from pytest_django import DjangoDbBlocker
from schemathesis.pytest.plugin import SchemathesisFunction

from runtime.folder import DataFolder
from runtime.postgres import PostgresServer
from runtime.valkey import ValkeyServer
from tests import emptying, migrated
from tests.conformance.benches.ibkr import end_gateways
from tests.faults import clusters
from trading.core.scope import platform_scope

settings.register_profile("ci", deadline=None, derandomize=True)
settings.register_profile("fuzz", deadline=None, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(autouse=True)
def _as_the_platform(request: pytest.FixtureRequest, _django_db_marker: None) -> Iterator[None]:
    """What a test does itself, it does for the platform; what it tests enters a scope of its own."""
    for name in ("transactional_db", "db"):  # emptied after the scope has been left: the platform may not truncate
        if name in request.fixturenames:
            request.getfixturevalue(name)
    with platform_scope():
        yield


SERVERS = pytest.StashKey[ExitStack]()


def pytest_configure(config: pytest.Config) -> None:
    """Start the servers, in the process that leads the session: pytest-xdist's workers find them running."""
    if hasattr(config, "workerinput"):
        return
    folder = DataFolder.from_environment()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder.root, ignore_errors=True)
        stack.callback(shutil.rmtree, folder.sockets, ignore_errors=True)
        os.environ[clusters.HOME] = f"{folder.root}-cluster"
        stack.callback(shutil.rmtree, os.environ[clusters.HOME], ignore_errors=True)
        postgres = stack.enter_context(PostgresServer(folder, durable=False, createdb=True))
        with psycopg.connect(postgres.url("quantum", "postgres"), autocommit=True) as superuser:
            # A process that a test has started may write while the tables are emptied: not the test is to give way.
            superuser.execute("ALTER ROLE quantum SET deadlock_timeout = '5s'")
        stack.enter_context(ValkeyServer(folder, persistent=False))
        config.stash[SERVERS] = stack.pop_all()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the servers and delete their folder, also after a failure or Ctrl-C."""
    if SERVERS in config.stash:
        config.stash[SERVERS].close()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest, and give each test an id by which pytest-xdist can tell it from others.

    Schemathesis names the operation of the API in the name of its test alone, and pytest-xdist writes the group of a
    test to an attribute that pytest no longer reads; of tests with one id it would run a single one.
    """
    items.sort(key=lambda item: not item.get_closest_marker("faults"))
    for item in items:
        if isinstance(item, SchemathesisFunction):
            item._id = NodeId.parse(f"{item.nodeid}[{item.operation_label}]")
        group = item.get_closest_marker("xdist_group")
        if group is not None and getattr(config.option, "loadgroup", False):
            item._id = NodeId.parse(f"{item.nodeid}@{group.args[0]}")


@pytest.fixture(scope="session")
def gateways_end(django_db_setup: None) -> Iterator[None]:
    """For tests that start ``workers.gateway``: it ends before its database does."""
    yield
    end_gateways()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None, django_db_blocker: DjangoDbBlocker) -> None:
    """Let each of several processes begin with a copy of a database that one of them has migrated."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        with django_db_blocker.unblock():
            connection.settings_dict["TEST"]["TEMPLATE"] = migrated.template()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Let a transactional test empty its tables in the end; tests/audit switches this trigger on again for its own."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_log DISABLE TRIGGER audit_log_refuse_truncate")
        emptying.install()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", emptying.empty)
        yield
