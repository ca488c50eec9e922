"""What opens a session at Interactive Brokers, and the name that one login has in every process."""

import hashlib
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from trading.brokers.base import Credentials

NAME = "ibkr"
QUIET_SECONDS = 5.0
"""Silence after which the gateway is asked for the time."""
Code = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{1,12}$")]
Month = Annotated[str, StringConstraints(pattern=r"^\d{6}(\d{2})?$")]


class IbkrCredentials(Credentials):
    """Where the client's gateway listens, and what its symbols mean.

    ``client_id`` is the API's number of this connection: fixed, since only the number that sent an order may change it.
    ``trading_class`` and ``multiplier`` tell the options on ``underlying_instrument`` apart from others on it;
    ``exchange_overrides`` name the exchange of futures that do not trade at the CME. After ``connect_retries`` failed
    attempts callers are told so at once; attempts go on, at first every ``connect_backoff_seconds``.
    """

    host: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    port: Annotated[int, Field(ge=1, le=65_535)] = 4002
    client_id: Annotated[int, Field(ge=1, le=999_999)] = 1
    account: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{0,16}$")] = ""
    """Needed where the login manages several."""
    underlying_instrument: Code | None = None
    underlying_expiry: Month | None = None
    connect_retries: Annotated[int, Field(ge=1, le=100)] = 3
    connect_backoff_seconds: Annotated[float, Field(gt=0, le=60, allow_inf_nan=False)] = 0.5
    request_seconds: Annotated[float, Field(ge=0.2, le=10, allow_inf_nan=False)] = 5.0
    """How long an answer is waited for; what is not answered by then is unknown."""
    exchange_overrides: Annotated[dict[Code, Code], Field(max_length=200)] = Field(default_factory=dict)
    trading_class: Code | None = None
    multiplier: Annotated[str, StringConstraints(pattern=r"^[1-9]\d{0,6}$")] | None = None
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "USD"

    @model_validator(mode="after")
    def _names_what_it_narrows(self) -> Self:
        narrowing = (self.underlying_expiry, self.trading_class, self.multiplier)
        if self.underlying_instrument is None and any(value is not None for value in narrowing):
            raise ValueError("underlying_expiry, trading_class and multiplier need an underlying_instrument")
        return self


def key_of(client_id: UUID, credentials: IbkrCredentials) -> str:
    """The name of the process for a client's login with exactly these credentials."""
    body = credentials.model_dump_json()
    return f"{client_id}:{hashlib.sha256(body.encode()).hexdigest()[:16]}"


def dumped(credentials: IbkrCredentials) -> dict[str, Any]:
    """The fields as JSON; none of them is a secret: the gateway is logged in by a person."""
    return credentials.model_dump(mode="json")
