"""Runs and sweeps, the chain of their manifests, trials, promotions and presets: each belongs to one client."""

from typing import Any

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from trading.core.ids import uuid7

HASH_LENGTH = 64


class Kind(models.TextChoices):
    """What a row of `Run` is the working out of."""

    RUN = "run", "one backtest"
    SWEEP = "sweep", "a search over many"


class Run(models.Model):
    """One configuration, worked out on one set of candles by one version of the code and of its dependencies.

    A sweep is one too: its configuration is that of a search, and ``run_hash`` its hash.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    client = models.ForeignKey("tenants.Client", on_delete=models.PROTECT, related_name="+", db_index=False)
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.RUN, db_default=Kind.RUN.value)
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
            models.Index(name="backtest_runs_by_client", fields=["client", "kind", "-id"]),
            models.Index(name="backtest_runs_by_hash", fields=["run_hash", "-id"]),
            models.Index(name="backtest_runs_by_job_run", fields=["job_run_id"]),
        ]

    def __str__(self) -> str:
        return self.run_hash[:12]

    @property
    def backtest(self) -> dict[str, Any]:
        """The configuration of the backtest; of a sweep, the one that it varies."""
        found: dict[str, Any] = self.config["config"] if self.kind == Kind.SWEEP else self.config
        return found


class Chunk(models.Model):
    """What one part of a sweep came to; it goes when the sweep has finished."""

    id = models.BigAutoField(primary_key=True)
    client = models.ForeignKey("tenants.Client", on_delete=models.PROTECT, related_name="+", db_index=False)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="chunks", db_index=False)
    start = models.PositiveIntegerField(help_text="Its first point's place among the sweep's points.")
    stop = models.PositiveIntegerField(help_text="The place after its last point's.")
    body = models.BinaryField(help_text="Figures of its points, as arrays.")

    class Meta:
        db_table = "backtest_chunks"
        constraints = [
            models.UniqueConstraint(name="backtest_chunks_once", fields=["run", "start"]),
            models.CheckConstraint(name="backtest_chunks_not_empty", condition=Q(start__lt=models.F("stop"))),
        ]
        indexes = [models.Index(name="backtest_chunks_by_client", fields=["client"])]

    def __str__(self) -> str:
        return f"{self.start} to {self.stop}"


class Trial(models.Model):
    """One thing that a client has tried on one market; it stays when the run that tried it goes.

    A promotion asks how many there are: the best of many looks good by luck.
    """

    id = models.BigAutoField(primary_key=True)
    client = models.ForeignKey("tenants.Client", on_delete=models.PROTECT, related_name="+", db_index=False)
    market = models.UUIDField(help_text="Which symbols at which timeframe, hashed.")
    trial = models.UUIDField(help_text="Everything that decides the result beside the candles, hashed.")
    strategy = models.CharField(max_length=64)
    sharpe = models.FloatField(null=True, help_text="Per bar; empty when the equity fell to zero.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "backtest_trials"
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(name="backtest_trials_once", fields=["client", "market", "trial"])]

    def __str__(self) -> str:
        return f"{self.strategy} {self.trial}"


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


class Level(models.TextChoices):
    """Where a strategy may trade."""

    PAPER = "paper"
    LIVE = "live"


class Promotion(models.Model):
    """A client's strategy, with the configuration that was tested, let go to paper or live; ended by a demotion."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    client = models.ForeignKey("tenants.Client", on_delete=models.PROTECT, related_name="+", db_index=False)
    level = models.CharField(max_length=8, choices=Level.choices)
    strategy = models.CharField(max_length=64)
    strategy_sha256 = models.CharField(max_length=HASH_LENGTH, help_text="Of the strategy's file as it was tested.")
    run_hash = models.CharField(max_length=HASH_LENGTH)
    content_hash = models.CharField(max_length=HASH_LENGTH, help_text="What the run was and left, by its manifest.")
    config = models.JSONField(help_text="The run's configuration.")
    evidence = models.JSONField(help_text="The numbers that the rule looked at.")
    promoted_by = models.CharField(max_length=200)
    promoted_at = models.DateTimeField(db_default=Now())
    demoted_by = models.CharField(max_length=200, blank=True, default="")
    demoted_at = models.DateTimeField(null=True, blank=True)
    demoted_because = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        db_table = "backtest_promotions"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                name="backtest_promotions_one_in_force",
                fields=["client", "level", "strategy"],
                condition=Q(demoted_at__isnull=True),
            ),
            models.CheckConstraint(name="backtest_promotions_level_known", condition=Q(level__in=Level.values)),
        ]
        indexes = [models.Index(name="backtest_promotions_by_client", fields=["client", "-id"])]

    def __str__(self) -> str:
        return f"{self.strategy} to {self.level}"


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
