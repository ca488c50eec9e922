"""Words that stand for secrets, and every place in which one of them could have been left."""

import base64
import io
import logging
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import redis
from django.conf import settings
from django.db import connection, transaction
from psycopg import sql

from trading.core.logs import configure

MARK = "canary-"


def canary(name: str) -> str:
    """A word that stands nowhere else; as long as a secret must be."""
    return f"{MARK}{name}-{secrets.token_hex(16)}"


def forms(word: str) -> list[bytes]:
    """``word`` as it may be written: plain, in a URL, in hexadecimal, in base64 wherever it begins there.

    Of base64 those characters that the word alone decides: one has 6 bits, and the first and last may share theirs.
    """
    raw = word.encode()
    coded = [
        base64.b64encode(b"\x00" * shift + raw)[-(-8 * shift // 6) : 8 * (shift + len(raw)) // 6] for shift in range(3)
    ]
    return list({raw, quote(word, safe="").encode(), raw.hex().encode(), *coded})


MARKS = forms(MARK)


@dataclass
class Traces:
    """What was written while somebody looked: each piece with the place that it was found in."""

    pieces: list[tuple[str, bytes]] = field(default_factory=list)
    marked: list[tuple[str, bytes]] = field(default_factory=list)
    """Those of them in which some canary stands: most words need to be looked for in few pieces."""

    def add(self, place: str, text: str | bytes) -> None:
        """Keep a piece."""
        piece = text if isinstance(text, bytes) else text.encode("utf-8", "backslashreplace")
        self.pieces.append((place, piece))
        if any(mark in piece for mark in MARKS):
            self.marked.append((place, piece))

    def places_of(self, word: str) -> list[str]:
        """Where ``word`` stands, in any of its forms."""
        wanted = forms(word)
        pieces = self.marked if MARK in word else self.pieces
        return sorted({place for place, piece in pieces if any(form in piece for form in wanted)})

    def add_redis(self) -> None:
        """Every key and its value, of every database of the server."""
        for number in range(16):
            with redis.Redis.from_url(settings.REDIS_URL, db=number) as server:
                for key in server.scan_iter(count=1000):
                    self.add("redis", key)
                    self.add("redis", _value(server, key))

    def add_tables(self) -> None:
        """Every row of every table, as ``pg_dump`` writes them."""
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT schemaname, tablename FROM pg_tables"
                " WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2"
            )
            for schema, table in cursor.fetchall():
                copied = sql.SQL("COPY (SELECT * FROM {}) TO STDOUT").format(sql.Identifier(schema, table))
                with psycopg.Cursor(connection.connection).copy(copied) as rows:
                    for row in rows:
                        self.add(f"table {table}", bytes(row))

    def add_files(self, folder: Path, *, since: float) -> None:
        """Every file under ``folder`` that was written ``since`` then (Unix seconds), the servers' own among them."""
        for path in sorted(folder.rglob("*")):
            with suppress(FileNotFoundError):  # the servers replace and delete files of theirs meanwhile
                if path.is_file() and path.stat().st_mtime >= since:
                    self.add(f"file {path.relative_to(folder)}", path.read_bytes())


def _value(server: redis.Redis, key: bytes) -> bytes:
    kind = server.type(key)
    reads: dict[bytes, Any] = {
        b"string": lambda: server.get(key),
        b"list": lambda: server.lrange(key, 0, -1),
        b"set": lambda: server.smembers(key),
        b"zset": lambda: server.zrange(key, 0, -1, withscores=True),
        b"hash": lambda: server.hgetall(key),
        b"stream": lambda: server.xrange(key),
    }
    return repr(reads[kind]()).encode()


def _without_frames(record: logging.LogRecord) -> bool:
    """Leave the lines of code out of the many thousands of failed lookups: the values stand in what each error says."""
    if record.exc_info:
        kind, error, _ = record.exc_info
        record.exc_info = (kind, error, None)  # type: ignore[assignment]  # as it is before it has been raised
        while error is not None:
            error.__traceback__ = None
            error = error.__cause__ or error.__context__
    return True


@contextmanager
def everything_logged(traces: Traces) -> Iterator[None]:
    """What all loggers say at every level, SQL with its values included, as the platform's own handler writes it."""
    root = logging.getLogger()
    kept = {name: logging.getLogger(name).level for name in ("", *root.manager.loggerDict)}
    handlers, written = root.handlers[:], io.StringIO()
    try:
        configure(level="DEBUG", as_json=True)
        for handler in root.handlers:
            assert isinstance(handler, logging.StreamHandler)
            handler.setStream(written)
        for name in kept:
            logging.getLogger(name).setLevel(logging.DEBUG)
        logging.getLogger("django.template").addFilter(_without_frames)
        connection.force_debug_cursor = True
        yield
    finally:
        connection.force_debug_cursor = False
        logging.getLogger("django.template").removeFilter(_without_frames)
        root.handlers[:] = handlers
        for name, level in kept.items():
            logging.getLogger(name).setLevel(level)
        traces.add("log", written.getvalue())


def report(traces: Traces, words: Iterable[tuple[str, str]]) -> list[str]:
    """One line for each word that was found, with its places; nothing when none was."""
    found = ((name, traces.places_of(word)) for name, word in words)
    return [f"{name}: {', '.join(places)}" for name, places in found if places]
