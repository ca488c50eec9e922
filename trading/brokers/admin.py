"""The paper venue's own books in the admin, to hold against the platform's."""

from django.contrib import admin
from unfold.paginator import InfinitePaginator

from trading.brokers.models import PaperAccount, PaperHolding, PaperOrder
from trading.jobs.admin import Ledger


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
