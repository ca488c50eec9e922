"""``manage.py reconcile``: what it shows, its status, and that what it resolves is resolved."""

from decimal import Decimal
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from trading.brokers.models import AccountStatus, BrokerAccount, PaperHolding
from trading.execution.models import Difference
from trading.tenants.models import Client

pytestmark = pytest.mark.django_db(transaction=True)


def run(*arguments: object) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("reconcile", *map(str, arguments), stdout=out, stderr=out)
    except SystemExit as ended:
        return int(str(ended.code)), out.getvalue()
    return 0, out.getvalue()


@pytest.fixture
def account(desk: Client, market: None) -> Client:
    BrokerAccount.objects.create(
        client=desk,
        broker="paper",
        status=AccountStatus.CONNECTED,
        connected_at=timezone.now(),
        tested_at=timezone.now(),
    )
    return desk


def test_by_hand(account: Client) -> None:
    status, said = run("--compare")
    assert (status, "Desk, paper: compared in full; 0 new, 0 gone." in said) == (0, True)
    PaperHolding.objects.create(account_id=account.id, symbol="AAA", quantity=Decimal(3))
    status, said = run("--client", "Desk", "--compare")
    row = Difference.objects.get()
    assert (status, str(row.id) in said, "ours 0, theirs 3" in said) == (1, True, True)
    with pytest.raises(CommandError, match="Say why"):
        run("--explain", row.id)
    with pytest.raises(CommandError, match="Only an order or a fill"):
        run("--adopt", row.id, "--reason", "mine")
    status, said = run("--client", account.id, "--explain", row.id, "--reason", "moved here")
    assert (status, "Resolved: Another position AAA" in said) == (0, True)
    row.refresh_from_db()
    assert row.resolution == "moved here"
    assert row.resolved_by.startswith("command by ")
    assert run("--compare")[0] == 0
    with pytest.raises(CommandError, match="There is no such difference"):
        run("--explain", uuid4(), "--reason", "x")
    with pytest.raises(CommandError, match="There is no client called 'Nobody'"):
        run("--client", "Nobody")
