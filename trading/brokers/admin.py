"""Clients' accounts at venues, and venues' books to hold against the platform's."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db import models, transaction
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from trading.brokers import accounts, services
from trading.brokers.models import (
    AccountStatus,
    BrokerAccount,
    BrokerBudget,
    IbkrLogin,
    IbkrOrder,
    MockOrder,
    PaperAccount,
    PaperHolding,
    PaperOrder,
)
from trading.core.confirm import Operation, Refused
from trading.jobs.admin import Ledger


def _test(account_id: UUID, by: str) -> str:
    account = accounts.retest(BrokerAccount.objects.get(pk=account_id), now=timezone.now())
    if account.status == AccountStatus.FAILED:
        raise Refused(account.last_error)
    return "a session was opened"


def _forget(account_id: UUID, by: str) -> str:
    account = BrokerAccount.objects.get(pk=account_id)
    with transaction.atomic():
        if not services.disconnect(account.client_id, account.broker):
            raise Refused("It is disconnected already.")
    return "its credentials are deleted; withdraw the key at the venue too"


@admin.register(BrokerAccount)
class BrokerAccountAdmin(Ledger):
    """What clients have connected. What opens an account is written by its owner and shown to nobody."""

    operations = (
        Operation(
            "test", "Try a session", "Open a session at the venue now?", _test, lambda row: bool(row.credentials)
        ),
        Operation(
            "forget",
            "Delete credentials",
            "Delete the credentials? The client trades there no more until its owner connects again.",
            _forget,
            lambda row: True,
            is_danger=True,
        ),
    )
    change_form_template = "admin/jobs/jobrun_form.html"
    list_display = ["client", "broker", "shown_status", "shown_credentials", "connected_at", "tested_at", "last_error"]
    list_filter = ["broker", "status", ("client", AutocompleteSelectFilter)]
    list_filter_submit = True
    list_select_related = ["client"]
    fields = ["client", "broker", "shown_status", "shown_credentials", "connected_at", "tested_at", "last_error"]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """An account's page with the buttons that apply."""
        account = self.get_object(request, object_id) if object_id else None
        buttons = self.buttons(account) if account is not None and self.has_operate_permission(request) else []
        return super().changeform_view(request, object_id, form_url, {**(extra_context or {}), "operations": buttons})

    @display(description="Status", label={"Connected": "success", "Failed": "danger"})
    def shown_status(self, account: BrokerAccount) -> str:
        """How the last session went."""
        return account.get_status_display()

    @display(description="Credentials")
    def shown_credentials(self, account: BrokerAccount) -> str:
        """That there are some, and under which key."""
        return f"set, under key {account.key}" if account.credentials else "none"


@admin.register(PaperAccount)
class PaperAccountAdmin(Ledger):
    """Cash at the venue."""

    list_display = ["client", "cash", "currency"]
    list_select_related = ["client"]


@admin.register(PaperHolding)
class PaperHoldingAdmin(Ledger):
    """What the venue keeps for each account."""

    list_display = ["account", "symbol", "quantity"]
    list_filter = ["symbol"]
    list_select_related = ["account"]


@admin.register(PaperOrder)
class PaperOrderAdmin(Ledger):
    """Orders as the venue took them."""

    list_display = ["client_order_id", "side", "quantity", "symbol", "status", "filled_quantity", "price", "fee",
                    "reason", "received_at"]  # fmt: skip
    list_filter = ["status", "symbol"]
    list_select_related = ["account"]
    search_fields = ["client_order_id"]
    paginator = InfinitePaginator
    show_full_result_count = False
    sortable_by = ()


@admin.register(MockOrder)
class MockOrderAdmin(Ledger):
    """Orders as the mock venue took them."""

    list_display = ["client_order_id", "client", "side", "quantity", "symbol", "status", "filled", "limit_price",
                    "reason", "received_at"]  # fmt: skip
    list_filter = ["status", ("client", AutocompleteSelectFilter)]
    list_filter_submit = True
    list_select_related = ["client"]
    search_fields = ["client_order_id"]
    paginator = InfinitePaginator
    show_full_result_count = False
    sortable_by = ()


@admin.register(BrokerBudget)
class BrokerBudgetAdmin(Ledger):
    """What is left of the limits that venues count, and until when one wants to be left alone."""

    list_display = ["scope", "tokens", "refilled_at", "blocked_until"]
    search_fields = ["scope"]


@admin.register(IbkrLogin)
class IbkrLoginAdmin(Ledger):
    """Whose each gateway of Interactive Brokers is."""

    list_display = ["login", "client", "leased_until", "next_order_id"]
    list_select_related = ["client"]

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Deleting one frees the gateway for another client."""
        return admin.ModelAdmin.has_delete_permission(self, request, obj)


@admin.register(IbkrOrder)
class IbkrOrderAdmin(Ledger):
    """The ids under which orders went to Interactive Brokers."""

    list_display = ["client_order_id", "client", "login", "order_id", "claimed_at", "refusal"]
    list_select_related = ["client"]
    search_fields = ["client_order_id"]
    paginator = InfinitePaginator
    show_full_result_count = False
    sortable_by = ()
