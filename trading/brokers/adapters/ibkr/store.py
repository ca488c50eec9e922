"""What the process of a login keeps in Postgres: its lease, and the order id of each order, before it is sent."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction

from trading.brokers.models import IbkrLogin, IbkrOrder

_ACQUIRE = """
INSERT INTO ibkr_logins AS held (login, client_id, holder, leased_until, next_order_id)
VALUES (%(login)s, %(client)s, %(holder)s, clock_timestamp() + make_interval(secs => %(seconds)s), 1)
ON CONFLICT (login) DO UPDATE
SET holder = EXCLUDED.holder, leased_until = EXCLUDED.leased_until
WHERE held.client_id = EXCLUDED.client_id
  AND (held.holder = EXCLUDED.holder OR held.holder IS NULL OR held.leased_until < clock_timestamp())
"""
_TAKE_ID = """
UPDATE ibkr_logins SET next_order_id = GREATEST(next_order_id, %(at_least)s) + 1
WHERE login = %(login)s AND holder = %(holder)s AND leased_until > clock_timestamp()
RETURNING next_order_id - 1
"""


LEASE_SECONDS = 15.0


class LeaseLost(RuntimeError):
    """Another process holds the login by now, or may: nothing is sent."""


@dataclass(frozen=True)
class Lease:
    """A process's hold on a login. While it is kept, no other process sends under that login."""

    login: str
    client_id: UUID
    holder: UUID

    def keep(self, seconds: float = LEASE_SECONDS) -> bool:
        """Take or lengthen the lease, by the database's clock; False while another process holds it."""
        with connection.cursor() as cursor:
            cursor.execute(
                _ACQUIRE,
                {"login": self.login, "client": self.client_id, "holder": self.holder, "seconds": seconds},
            )
            taken: int = cursor.rowcount
        return taken == 1

    def is_anothers(self) -> bool:
        """Whether the gateway is another client's."""
        return IbkrLogin.objects.filter(login=self.login).exclude(client_id=self.client_id).exists()

    def release(self) -> None:
        """Let another process have it at once."""
        IbkrLogin.objects.filter(login=self.login, holder=self.holder).update(holder=None)

    def next_order_id(self) -> int:
        """The least id that was never used here."""
        return IbkrLogin.objects.filter(login=self.login).values_list("next_order_id", flat=True).first() or 1

    def claim(self, client_order_id: str, *, at_least: int) -> int | None:
        """An order id that was never used, written down for that order; None when it has one already.

        ``at_least`` is what the gateway would give: it may have fallen back. Raises `LeaseLost`.
        """
        with transaction.atomic():
            if IbkrOrder.objects.filter(client_id=self.client_id, client_order_id=client_order_id).exists():
                return None
            order_id = self._take_id(at_least)
            if order_id is None and self.keep():  # it had run out, and nobody else has taken it
                order_id = self._take_id(at_least)
            if order_id is None:
                raise LeaseLost(f"the lease of {self.login} was not kept")
            # The row of the login is locked by now, and with it whoever might claim the same.
            if IbkrOrder.objects.filter(client_id=self.client_id, client_order_id=client_order_id).exists():
                return None
            IbkrOrder.objects.create(
                client_id=self.client_id, login=self.login, client_order_id=client_order_id, order_id=order_id
            )
            return order_id

    def _take_id(self, at_least: int) -> int | None:
        with connection.cursor() as cursor:
            cursor.execute(_TAKE_ID, {"login": self.login, "holder": self.holder, "at_least": at_least})
            row = cursor.fetchone()
        return None if row is None else int(row[0])

    def unclaim(self, client_order_id: str) -> None:
        """Forget an order that was surely never sent, so that it may be."""
        IbkrOrder.objects.filter(client_id=self.client_id, client_order_id=client_order_id).delete()

    def refuse(self, client_order_id: str, reason: str) -> None:
        """Keep why the venue did not take an order."""
        IbkrOrder.objects.filter(client_id=self.client_id, client_order_id=client_order_id).update(
            refusal=reason[:300] or "refused"
        )

    def known(self, client_order_id: str) -> "Known | None":
        """What is written of an order."""
        row = IbkrOrder.objects.filter(client_id=self.client_id, client_order_id=client_order_id).first()
        return None if row is None else Known(row.order_id, row.claimed_at, row.refusal)


@dataclass(frozen=True)
class Known:
    """An order that was claimed; ``refusal`` is empty unless the venue did not take it."""

    order_id: int
    claimed_at: datetime
    refusal: str
