"""The arguments of a run, checked against the job's declaration before they are stored and before they are used."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pydantic

from trading.jobs.registry import Job
from trading.tenants.models import Client

MAX_ARGUMENTS_BYTES = 16_384


class InvalidArguments(ValueError):
    """The arguments do not fit the job's declaration; ``errors`` says where, as ``{"loc": [...], "message": ...}``."""

    code = "validation_error"

    def __init__(self, job: str, errors: list[dict[str, Any]]) -> None:
        self.errors = errors
        places = "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['message']}" for error in errors)
        super().__init__(f"The arguments of job {job!r} are not valid: {places}")


def validated(
    job: Job[Any], arguments: Mapping[str, Any], *, client_id: UUID | None, client_is_active: bool | None = None
) -> Any:
    """``arguments`` as the job's own type; raises `InvalidArguments`.

    ``client_is_active``: whether there is such a client at work, if the caller has just seen; else it is looked up.
    """
    if job.per_client != (client_id is not None):
        message = "this job runs for one client: name it" if job.per_client else "this job belongs to no client"
        raise InvalidArguments(job.slug, [{"loc": ["client_id"], "message": message}])
    if client_is_active is None:
        client_is_active = client_id is None or Client.objects.filter(id=client_id, is_active=True).exists()
    if not client_is_active:
        raise InvalidArguments(job.slug, [{"loc": ["client_id"], "message": "there is no active client of this id"}])
    try:
        text = _canonical(job.slug, arguments)
        if len(text) > MAX_ARGUMENTS_BYTES:
            message = f"{len(text)} bytes of arguments; at most {MAX_ARGUMENTS_BYTES} are taken: pass ids, not data"
            raise InvalidArguments(job.slug, [{"loc": ["args"], "message": message}])
        return job.arguments.model_validate_json(text)
    except pydantic.ValidationError as error:
        found = [{"loc": ["args", *item["loc"]], "message": item["msg"]} for item in error.errors(include_url=False)]
        raise InvalidArguments(job.slug, found) from None


def _canonical(slug: str, arguments: Mapping[str, Any]) -> bytes:
    try:
        text = pydantic.RootModel[dict[str, Any]](dict(arguments)).model_dump_json()
        if "\\u0000" in text:
            raise ValueError("a NUL character")
        return text.encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidArguments("", [{"loc": ["args"], "message": f"cannot be stored as JSON: {error}"}]) from None
