"""What may be wrong with a deployment, each finding with its fix."""

import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import redis
from django.conf import settings
from django.core.checks import ERROR, run_checks
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from trading.audit import heads, mirror, verification
from trading.brokers import registry as brokers
from trading.core.encryption import keyring
from trading.core.rotation import standings
from trading.jobs import processes
from trading.jobs.selectors import queue_states
from trading.marketdata import selectors as market
from trading.tenants import parameters
from trading.tenants.models import Client

Level = Literal["ok", "warning", "error"]
MIN_FREE_BYTES = 2_000_000_000
MAX_SKEW_SECONDS = 2.0
RUNBOOK = "docs/runbooks/rls-tenant-debugging.md"
OLD_SECONDS = 300.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: how it is, and what to do where it is not well."""

    subject: str
    level: Level
    message: str
    fix: str = ""


def diagnose() -> Iterator[Finding]:
    """Look at everything; what cannot be looked at is a finding too, once."""
    said = set[Finding]()
    for look in (_python, _settings, _files, _database, _secrets, _broker, _market, _work, _audit):
        for finding in _guarded(look):
            if finding not in said:  # a server that is away is met again by the next look
                said.add(finding)
                yield finding


def _guarded(look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except DatabaseError as error:
        fix = "Start the server, or correct DATABASE_URL. `make run` starts an embedded one."
        yield Finding("database", "error", f"cannot be asked: {str(error).strip().splitlines()[0]}", fix)
    except redis.RedisError as error:
        fix = "Start the server, or correct REDIS_URL. `make run` starts an embedded one."
        yield Finding("redis", "error", f"cannot be reached: {error}", fix)


def _python() -> Iterator[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] == (3, 11):
        yield Finding("python", "ok", found)
    else:
        yield Finding("python", "error", f"{found} runs this", "Run it with Python 3.11: make clean install")


def _settings() -> Iterator[Finding]:
    yield Finding("secrets", "ok", "present and strong")  # without them this command would not have started
    for message in run_checks(databases=None):
        level: Level = "error" if message.level >= ERROR else "warning"
        yield Finding("settings", level, str(message.msg), str(message.hint or "See the Django documentation."))
    production = settings.APP_ENV == "production"
    if settings.DEBUG:
        yield Finding("settings", "error", "DEBUG is on", "Use config.settings.production.")
    if production and settings.ENABLE_DEV_AUTH_BYPASS:
        fix = "Unset ENABLE_DEV_AUTH_BYPASS; production ignores it anyway."
        yield Finding("settings", "warning", "ENABLE_DEV_AUTH_BYPASS is set", fix)
    if "*" in settings.ALLOWED_HOSTS:
        yield Finding("settings", "error", "every host name is answered", "Name yours in ALLOWED_HOSTS.")
    elif production and all(host in ("localhost", "127.0.0.1", "[::1]") for host in settings.ALLOWED_HOSTS):
        fix = "Name the public host in ALLOWED_HOSTS."
        yield Finding("settings", "warning", "only loopback host names are answered", fix)


def _files() -> Iterator[Finding]:
    env = Path(settings.BASE_DIR) / ".env"
    if env.exists():
        mode = stat.S_IMODE(env.stat().st_mode)
        if mode & 0o077:
            yield Finding(".env", "error", f"others may read it (mode {mode:o})", f"chmod 600 {env.name}")
        else:
            yield Finding(".env", "ok", "readable by its owner alone")
    root = settings.DATA.root
    if root.exists():
        free = shutil.disk_usage(root).free
        if free < MIN_FREE_BYTES:
            fix = "Free some, or set QT_DATA_DIR to another disk."
            yield Finding("disk", "error", f"{free / 1e9:.1f} GB left for the data folder", fix)
        else:
            yield Finding("disk", "ok", f"{free / 1e9:.0f} GB free")
        if not os.access(root, os.W_OK):
            yield Finding("disk", "error", "the data folder cannot be written", "Correct its owner.")


def _database() -> Iterator[Finding]:
    before = datetime.now(UTC)
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp(), current_setting('server_version_num')::int")
        clock, number = cursor.fetchone()
    skew = abs((clock - before).total_seconds())
    if number < 140_000:
        yield Finding("database", "error", f"Postgres {number // 10_000}", "Upgrade to 14 or later.")
    else:
        yield Finding("database", "ok", f"Postgres {number // 10_000}")
    if skew > MAX_SKEW_SECONDS:
        fix = "Run NTP on both hosts."
        yield Finding("clock", "error", f"{skew:.1f} s between this host and the database", fix)
    yield from _logins()
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        yield Finding("migrations", "error", f"{len(missing)} are not applied", "python manage.py migrate")
    else:
        yield Finding("migrations", "ok", "all applied")
    for message in run_checks(tags=["database"], databases=[DEFAULT_DB_ALIAS]):
        yield Finding("database", "error", str(message.msg), str(message.hint or ""))


def _secrets() -> Iterator[Finding]:
    ring = keyring()
    for standing in standings():
        older, unknown = standing.under_older(ring), standing.unknown(ring)
        if unknown:
            keys = ", ".join(sorted(unknown))
            message = f"{sum(unknown.values())} values of {standing.column} lie under keys that are gone: {keys}"
            fix = "Append the secrets that were in use to ENCRYPTION_KEY: docs/runbooks/rotate-encryption-key.md"
            yield Finding("encryption", "error", message, fix)
        if older:
            message = f"{older} values of {standing.column} lie under an older key"
            yield Finding("encryption", "warning", message, "python manage.py rotate_encryption_key")
        if not unknown and not older:
            yield Finding("encryption", "ok", f"all of {standing.column} lies under the first key")


def _logins() -> Iterator[Finding]:
    """Whether the logins that work for clients could pass by row security."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT rolname, rolsuper OR rolbypassrls OR EXISTS (SELECT FROM pg_auth_members WHERE member = r.oid)"
            " OR EXISTS (SELECT FROM pg_class WHERE relowner = r.oid) FROM pg_roles r WHERE rolname = ANY(%s)",
            [list(settings.DATABASE_ROLES.values())],
        )
        found = dict(cursor.fetchall())
        cursor.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'client_id'"
            " WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND NOT a.attisdropped"
            " AND NOT (c.relrowsecurity AND c.relforcerowsecurity) ORDER BY 1"
        )
        open_tables = [name for (name,) in cursor.fetchall()]
    for role in settings.DATABASE_ROLES.values():
        if role not in found:
            yield Finding("logins", "error", f"{role} does not exist", "python -m runtime.roles")
        elif found[role]:
            fix = f"Take its attributes, memberships and tables away, or name another login: {RUNBOOK}"
            yield Finding("logins", "error", f"{role} could pass by row security", fix)
    if open_tables:
        fix = f"Apply all migrations, or see {RUNBOOK}"
        yield Finding("logins", "error", f"no row security on {', '.join(open_tables)}", fix)
    elif not any(found.values()) and len(found) == len(settings.DATABASE_ROLES):
        yield Finding("logins", "ok", "own nothing, and are under row security")


def _broker() -> Iterator[Finding]:
    with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=3, socket_connect_timeout=3) as client:
        client.ping()
        yield Finding("redis", "ok", "answers")
        # By INFO, not CONFIG, which rented servers refuse.
        memory, persistence = client.info("memory"), client.info("persistence")
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        fix = "Set maxmemory-policy noeviction; what is evicted is only found again after seconds."
        yield Finding("redis", "warning", f"maxmemory-policy is {policy}", fix)
    if not persistence.get("aof_enabled"):
        fix = "Set appendonly yes; without it a restart costs seconds until the keepers ring again."
        yield Finding("redis", "warning", "keeps no append-only file over a restart", fix)


def _market() -> Iterator[Finding]:
    """Whether orders that move money would follow from candles of no market; the execution cycle refuses those."""
    if settings.USE_MOCK_BROKER or brokers.is_simulated(settings.QT_EXECUTION_EXCHANGE):
        return
    clients = Client.objects.filter(is_active=True).values_list("id", flat=True)
    symbols = {symbol for client_id in clients for symbol in parameters.in_force(client_id).symbols}
    if made_up := market.made_up(symbols):
        fix = "Import those of its market (manage.py import_candles FILE), or set QT_MARKET_PROVIDER to what has them."
        where = f"{settings.QT_EXECUTION_EXCHANGE} gets no orders"
        yield Finding("candles", "warning", f"those of {', '.join(sorted(made_up))} are made up: {where}", fix)


def _work() -> Iterator[Finding]:
    start = "Start it: make run, or the command of the Procfile."
    for kind in ("worker", "beat"):
        count = processes.alive(kind).count()
        if count:
            yield Finding(kind, "ok", f"{count} heard of in the last {processes.SILENT_AFTER.seconds} s")
        else:
            yield Finding(kind, "warning", "none has been heard of lately", start)
    served = {queue for process in processes.alive("worker") for queue in process.queues}
    for queue in queue_states():
        if queue.paused_at is not None:
            fix = "Resume it in the admin, under Queues."
            yield Finding("queues", "warning", f"{queue.name} is paused by {queue.paused_by or 'somebody'}", fix)
        elif served and queue.name not in served:
            yield Finding("queues", "error", f"no worker takes {queue.name}", f"python -m workers.worker {queue.name}")
        elif queue.oldest_age is not None and queue.oldest_age.total_seconds() > OLD_SECONDS:
            fix = "Start more workers of this queue, or look at what its runs do."
            yield Finding("queues", "warning", f"a run of {queue.name} has waited {queue.oldest_age}", fix)


def _audit() -> Iterator[Finding]:
    fix = "python manage.py verify_audit --export; if that fails, correct QT_ADMIN_AUDIT_PATH, its owner or the disk."
    try:
        behind = mirror.behind()
    except mirror.MirrorFailed as error:
        yield Finding("audit", "error", f"the mirror cannot be read: {error}", fix)
    else:
        if behind:
            yield Finding("audit", "warning", f"{behind} entries are not in {mirror.path()}", fix)
        else:
            yield Finding("audit", "ok", "every entry is mirrored")
    now = timezone.now()
    for chain in verification.chains():
        try:
            signed = heads.last(chain)
        except heads.BadHead as error:
            yield Finding("audit", "error", f"{heads.file_of(chain).name}: {error}", verification.ADVICE)
            continue
        late = verification.unsigned(chain, signed.sequence if signed is not None else 0, now)
        if late is not None:
            yield Finding("audit", "error", late.message, fix)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_trigger WHERE tgname = 'audit_log_refuse_change' AND tgenabled = 'A'"
            " AND tgrelid = 'audit_log'::regclass"
        )
        if cursor.fetchone() is None:
            message = "the database does not refuse changes of audit_log: its trigger is off or gone"
            yield Finding(
                "audit", "error", message, f"{verification.ADVICE} Then put the trigger back by its migration."
            )
