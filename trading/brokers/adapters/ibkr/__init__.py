"""Interactive Brokers, through a gateway that the client runs.

The client library must not be imported by a worker (see ``library``), so nothing here imports it: a session hands each
call to the one process that holds the login (``process``), which ``python -m workers.gateway`` starts when wanted.
"""

from uuid import UUID

from trading.brokers.adapters.ibkr.broker import IbkrBroker
from trading.brokers.adapters.ibkr.login import NAME, IbkrCredentials
from trading.brokers.base import Broker, BrokerRefused, Credentials


class IbkrAdapter:
    """Opens sessions."""

    name = NAME
    is_simulated = False
    credentials: type[Credentials] = IbkrCredentials

    def open(self, client_id: UUID, credentials: Credentials) -> Broker:
        """A session; whether the gateway is there its first use says."""
        if not isinstance(credentials, IbkrCredentials):
            raise BrokerRefused(
                "These are not the credentials of Interactive Brokers.",
                broker=NAME,
                operation="session",
                code="bad_credentials",
            )
        return IbkrBroker(client_id, credentials)


ADAPTER = IbkrAdapter()
