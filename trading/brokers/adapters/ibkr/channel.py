"""The line between a worker and the process that holds a login: signed JSON through lists in Redis.

A request that nobody has taken can be taken back, so that it surely was not carried out. One that was taken and not
answered may have been carried out or not. Each says until when it may be begun; the process begins none after that.
What must not be lost is not here: an order's intent is a row before it comes, and its order id is one before it goes.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import uuid4

import redis
from django.conf import settings
from django.core import signing

from trading.brokers.base import BrokerError, BrokerRefused, BrokerUnavailable, OutcomeUnknown

WANTED = "ibkr:wanted"
"""A hash: for each login that callers want, its credentials and until when."""
DOORBELL = "ibkr:doorbell"
CURRENT = "ibkr:current:"
"""And a client's id: the login that was wanted last. Where credentials have changed, the older process makes room."""
STARTING = "ibkr:starting:"
"""And a client's id: the login that a caller waits for, and who. No other login of the client takes its place then."""
WANTED_SECONDS = 900.0
ALIVE_SECONDS = 5
ANSWER_SECONDS = 120
SALT = "trading.brokers.ibkr"
KINDS: dict[str, type[BrokerError]] = {
    "refused": BrokerRefused,
    "unavailable": BrokerUnavailable,
    "unknown": OutcomeUnknown,
    "failed": BrokerError,
}


@dataclass(frozen=True)
class Keys:
    """Where a login's messages are."""

    login: str

    @property
    def requests(self) -> str:
        """What waits to be done."""
        return f"ibkr:{self.login}:requests"

    @property
    def alive(self) -> str:
        """There while a process serves."""
        return f"ibkr:{self.login}:alive"

    def stream(self, number: str) -> str:
        """Where quotes are published."""
        return f"ibkr:{self.login}:stream:{number}"


@dataclass(frozen=True)
class Request:
    """Something to be done. ``begin_by`` is in Unix seconds: the hosts' clocks must agree to a second or so."""

    number: str
    operation: str
    arguments: dict[str, Any]
    begin_by: float

    @property
    def answers(self) -> str:
        """Where the answer is waited for."""
        return f"ibkr:answer:{self.number}"


@cache
def client() -> "redis.Redis":
    """The connection of this process."""
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=90, socket_connect_timeout=3)


def pack(value: Any) -> str:
    """Signed JSON: only who knows the platform's secret key can put an order here."""
    return signing.dumps(value, salt=SALT, compress=True)


def unpack(text: str | bytes) -> Any:
    """What was packed; raises `signing.BadSignature` for anything else, and for what is older than an hour."""
    return signing.loads(text.decode() if isinstance(text, bytes) else text, salt=SALT, max_age=3600)


def claim(login: str, client_id: str, caller: str, *, seconds: float) -> None:
    """Let no other login of the client take this one's place until ``caller`` does `settle`, or so long."""
    client().set(STARTING + client_id, f"{login} {caller}", nx=True, px=int(seconds * 1000))


def settle(login: str, client_id: str, caller: str) -> None:
    """What ``caller`` has claimed is over."""
    if client().get(STARTING + client_id) == f"{login} {caller}".encode():
        client().delete(STARTING + client_id)


def want(login: str, client_id: str, credentials: Mapping[str, Any]) -> bool:
    """Say that a login is in use, so that there is a process for it; False while another one is claimed."""
    raw = client().get(STARTING + client_id)
    starting = raw.decode() if isinstance(raw, bytes) else raw
    if starting is not None and starting.partition(" ")[0] != login:
        return False
    now = time.time()
    entry = pack({"client_id": client_id, "credentials": dict(credentials), "until": now + WANTED_SECONDS})
    pipeline = client().pipeline(transaction=False)
    pipeline.hset(WANTED, login, entry)
    pipeline.set(CURRENT + client_id, login, ex=int(WANTED_SECONDS))
    pipeline.lpush(DOORBELL, login)
    pipeline.ltrim(DOORBELL, 0, 99)
    pipeline.execute()
    return True


def stands(entry: str | bytes | None, login: str, current: str | bytes | None) -> dict[str, Any] | None:
    """An entry of the hash, read: None when nobody has asked for long, the client wants another, or it is not ours."""
    if entry is None or current is None or (current.decode() if isinstance(current, bytes) else current) != login:
        return None
    try:
        found: dict[str, Any] = unpack(entry)
    except signing.BadSignature:
        return None
    return found if float(found["until"]) > time.time() else None


def is_alive(login: str) -> bool:
    """Whether a process serves that login."""
    return bool(client().exists(Keys(login).alive))


def call(
    login: str, operation: str, arguments: dict[str, Any], *, begin: float, answer: float, changes: bool, broker: str
) -> Any:
    """Have something done and wait for the answer: ``begin`` seconds until it must begin, ``answer`` more to its end.

    ``changes``: it may change something at the venue. Raises the `BrokerError` that the process answers with,
    `BrokerUnavailable` when it surely was not begun, and `OutcomeUnknown` when a change may have been.
    """
    request = Request(uuid4().hex, operation, arguments, time.time() + begin)
    keys, message = Keys(login), pack(_as_dict(request))
    connection = client()
    unreached = BrokerUnavailable("Redis was not reached.", broker=broker, operation=operation, code="no_redis")
    try:
        connection.ping()
    except redis.RedisError:
        raise unreached from None
    try:
        connection.rpush(keys.requests, message)
        found = connection.blpop([request.answers], timeout=begin + answer)
        if found is None and connection.lrem(keys.requests, 1, message):
            raise BrokerUnavailable(
                "No process serves this login: is `python -m workers.gateway` running?",
                broker=broker,
                operation=operation,
                code="no_process",
            )
    except redis.RedisError:
        found = None
    if found is None:
        kind = OutcomeUnknown if changes else BrokerUnavailable
        raise kind("The process of this login did not answer.", broker=broker, operation=operation, code="no_answer")
    return opened(unpack(found[1]), broker=broker, operation=operation)


def _as_dict(request: Request) -> dict[str, Any]:
    return {"number": request.number, "operation": request.operation, "arguments": request.arguments,
            "begin_by": request.begin_by}  # fmt: skip


def read_request(text: str | bytes) -> Request:
    """A request; raises `signing.BadSignature`."""
    return Request(**unpack(text))


def opened(answer: Any, *, broker: str, operation: str) -> Any:
    """The value of an answer, or its error raised."""
    error = answer.get("error")
    if error is None:
        return answer["value"]
    raise KINDS[error["kind"]](
        error["message"],
        broker=broker,
        operation=operation,
        code=error["code"],
        context=error["context"],
        **({"retry_after": error["retry_after"]} if error["retry_after"] is not None else {}),
    )


def failure(error: BrokerError) -> str:
    """An answer that is an error."""
    kind = next((name for name, found in KINDS.items() if isinstance(error, found)), "failed")
    return pack(
        {
            "error": {
                "kind": kind,
                "message": str(error),
                "code": error.code,
                "context": json.loads(json.dumps(error.context, default=str)),
                "retry_after": error.retry_after,
            }
        }
    )


def success(value: Any) -> str:
    """An answer that is a value, already as JSON has it."""
    return pack({"value": value})
