"""Backtests for operators: written by the platform alone."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from trading.backtests.models import Chunk, Manifest, Preset, Promotion, Run, Trial
from trading.jobs.admin import Ledger


class _Kept(Ledger):
    """What all of these lists share: newest first, by the key, without counting."""

    paginator = InfinitePaginator
    show_full_result_count = False
    list_select_related = ["client"]
    list_per_page = 50
    list_fullwidth = True
    list_filter = [("client", AutocompleteSelectFilter)]
    list_filter_submit = True
    sortable_by = ()

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """None."""
        return {}


@admin.register(Run)
class RunAdmin(_Kept):
    """Runs and sweeps, newest first."""

    list_display = ["__str__", "kind", "client", "shown_strategy", "shown_manifest", "created_at", "finished_at"]
    search_fields = ["run_hash__startswith"]
    search_help_text = "The beginning of a run hash."

    @display(description="strategy")
    def shown_strategy(self, run: Run) -> str:
        """Its name."""
        return str(run.backtest["strategy"]["name"])

    @display(description="manifest")
    def shown_manifest(self, run: Run) -> str:
        """The beginning of its hash."""
        return run.manifest_hash[:12] or "-"


@admin.register(Manifest)
class ManifestAdmin(_Kept):
    """Every client's chain, from its newest link."""

    list_display = ["__str__", "client", "run_hash", "chain_prev"]
    search_fields = ["manifest_hash__startswith", "run_hash__startswith"]
    search_help_text = "The beginning of a hash."


@admin.register(Preset)
class PresetAdmin(_Kept):
    """Presets."""

    list_display = ["name", "client", "preset_id", "created_at"]
    search_fields = ["name", "preset_id__startswith"]
    search_help_text = "A name, or the beginning of an id."


@admin.register(Promotion)
class PromotionAdmin(_Kept):
    """What may trade where, and what once did."""

    list_display = ["__str__", "client", "promoted_by", "promoted_at", "demoted_by", "demoted_at"]
    search_fields = ["strategy", "run_hash__startswith"]
    search_help_text = "A strategy, or the beginning of a run hash."


@admin.register(Trial)
class TrialAdmin(_Kept):
    """What every client has tried on which market."""

    list_display = ["__str__", "client", "market", "sharpe", "created_at"]
    search_fields = ["strategy"]
    search_help_text = "A strategy."


@admin.register(Chunk)
class ChunkAdmin(_Kept):
    """Parts of sweeps that are being worked out."""

    list_display = ["__str__", "client", "run"]
    list_select_related = ["client", "run"]
    exclude = ["body"]
