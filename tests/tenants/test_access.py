"""The application's own check of whose client a path names: it holds also where row security would show every row."""

from uuid import UUID

import pytest
from django.contrib.auth.models import AnonymousUser

from trading.core.errors import NotFound
from trading.core.scope import platform_scope
from trading.tenants.access import client_for
from trading.tenants.authentication import Keeper
from trading.tenants.models import Client, Role, User
from trading.tenants.permissions import Holder

pytestmark = pytest.mark.django_db


def test_a_client_is_reached_by_its_own_users_and_by_operators() -> None:
    with platform_scope():
        own, other = Client.objects.create(name="Own"), Client.objects.create(name="Other")
        missing = UUID("00000000-0000-7000-8000-0000000000ff")
        ann = User.objects.create_user("ann", client=own, role=Role.OWNER)
        operator = User.objects.create_user("op", role=Role.OPERATOR)
        assert client_for(ann, own.id) == own
        assert client_for(operator, other.id) == other
        assert client_for(Keeper(Holder.CRON), other.id) == other
        said = set()
        for caller, client_id in ((ann, other.id), (ann, missing), (operator, missing), (AnonymousUser(), own.id)):
            with pytest.raises(NotFound) as refused:
                client_for(caller, client_id)
            said.add(str(refused.value.body()))
        assert len(said) == 1, "another's and a missing one are told apart by nothing"
