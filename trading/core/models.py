"""What the core keeps: the answers to requests that must not count twice, and settings that were changed."""

from django.db import models


class IdempotencyKey(models.Model):
    """A client's key, the request that came with it, and the answer that it got."""

    id = models.BigAutoField(primary_key=True)
    client_id = models.UUIDField(null=True, help_text="In whose scope it was asked; empty for the platform's.")
    scope = models.CharField(max_length=200, help_text="Whose key it is, and for which path.")
    key = models.CharField(max_length=128)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of the method, path and body.")
    status = models.PositiveSmallIntegerField(null=True)
    body = models.TextField(null=True, help_text="JSON, as text: the same bytes are answered again.")
    created_at = models.DateTimeField()

    class Meta:
        db_table = "idempotency_keys"
        constraints = [models.UniqueConstraint(name="idempotency_keys_once", fields=["scope", "key"])]
        indexes = [models.Index(name="idempotency_keys_age", fields=["created_at"])]

    def __str__(self) -> str:
        return f"{self.scope} {self.key}"


class ChangedSetting(models.Model):
    """A setting whose value is no longer the environment's: see `trading.core.dials`."""

    name = models.CharField(max_length=64, primary_key=True)
    value = models.JSONField()
    changed_by = models.CharField(max_length=200)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "changed_settings"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
