"""Runs, the chain of their manifests, and presets: each belongs to one client."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from trading.core.ids import uuid7

HASH_LENGTH = 64


class Run(models.Model):
    """One configuration, worked out on one set of candles by one version of the code and of its dependencies."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    client = models.ForeignKey("tenants.Client", on_delete=models.PROTECT, related_name="+", db_index=False)
    run_hash = models.CharField(max_length=HASH_LENGTH, help_text="SHA-256 of the configuration's canonical JSON.")
    config = models.JSONField(help_text="The configuration with every default filled in.")
    data_hash = models.CharField(max_length=HASH_LENGTH, help_text="SHA-256 of the candles used.")
    code_version = models.CharField(max_length=HASH_LENGTH, help_text="SHA-256 of the sources that work a run out.")
    lock_hash = models.CharField(max_length=HASH_LENGTH, help_text="SHA-256 of the pinned dependencies.")
    job_run_id = models.UUIDField(
        null=True, help_text="The job run that works it out; the ledger may have pruned it since."
    )
    manifest_hash = models.CharField(max_length=HASH_LENGTH, blank=True, default="")
    metrics = models.JSONField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "backtest_runs"
        ordering = ["-id"]
        verbose_name = "backtest run"
        constraints = [
            models.UniqueConstraint(
                name="backtest_runs_once",
                fields=["client", "run_hash", "data_hash", "code_version", "lock_hash"],
            ),
            models.CheckConstraint(
                name="backtest_runs_finished_with_manifest",
                condition=Q(finished_at__isnull=True, manifest_hash="", metrics__isnull=True)
                | (Q(finished_at__isnull=False, metrics__isnull=False) & ~Q(manifest_hash="")),
            ),
        ]
        indexes = [
            models.Index(name="backtest_runs_by_client", fields=["client", "-id"]),
            models.Index(name="backtest_runs_by_hash", fields=["run_hash", "-id"]),
            models.Index(name="backtest_runs_by_job_run", fields=["job_run_id"]),
        ]

    def __str__(self) -> str:
        return self.run_hash[:12]


class Manifest(models.Model):
    """A finished run's manifest, kept when the run is pruned: the client's chain goes through all of them."""

    id = models.BigAutoField(primary_key=True)
    client = models.ForeignKey("tenants.Client", on_delete=models.PROTECT, related_name="+", db_index=False)
    position = models.PositiveIntegerField(help_text="Its place in the client's chain, from 1.")
    run_id = models.UUIDField(help_text="The run, which may have been pruned since.")
    run_hash = models.CharField(max_length=HASH_LENGTH)
    manifest_hash = models.CharField(max_length=HASH_LENGTH)
    chain_prev = models.CharField(max_length=HASH_LENGTH, help_text="The manifest hash of the position before.")
    body = models.TextField(help_text="manifest.json as it was written.")

    class Meta:
        db_table = "backtest_manifests"
        ordering = ["client", "-position"]
        verbose_name = "manifest"
        constraints = [
            models.UniqueConstraint(name="backtest_manifests_one_a_place", fields=["client", "position"]),
            models.UniqueConstraint(name="backtest_manifests_no_fork", fields=["client", "chain_prev"]),
            models.UniqueConstraint(name="backtest_manifests_one_a_run", fields=["run_id"]),
        ]

    def __str__(self) -> str:
        return f"{self.position}: {self.manifest_hash[:12]}"


class Preset(models.Model):
    """A named configuration to start from."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    client = models.ForeignKey("tenants.Client", on_delete=models.PROTECT, related_name="+", db_index=False)
    preset_id = models.CharField(max_length=HASH_LENGTH, help_text="SHA-256 of the canonical JSON of name and config.")
    name = models.CharField(max_length=120)
    config = models.JSONField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "backtest_presets"
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(name="backtest_presets_once", fields=["client", "preset_id"])]
        indexes = [models.Index(name="backtest_presets_by_client", fields=["client", "-id"])]

    def __str__(self) -> str:
        return self.name
