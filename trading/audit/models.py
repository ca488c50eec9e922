"""The audit log: one chain of entries for each client and one for the platform, and the head of each."""

from typing import Any
from uuid import UUID

from django.db import models
from django.db.models import F, Q

from trading.audit.canonical import GENESIS, contents

PLATFORM = UUID(int=0)
"""The chain of what belongs to no client."""
SWITCHES = UUID(int=1)
"""The chain of the halt and the kill switch, apart so that turning them waits for nobody else's entry."""
OF_NO_CLIENT = (PLATFORM, SWITCHES)


def _of_its_client() -> Q:
    return Q(client__isnull=True, chain__in=OF_NO_CLIENT) | Q(client__isnull=False, chain=F("client"))


class AuditHead(models.Model):
    """The end of a chain: locked by whoever writes the next entry, so that the writers of one chain take turns."""

    chain = models.UUIDField(
        primary_key=True, editable=False, help_text="The client's id; the platform's begin with zeros."
    )
    client = models.ForeignKey(
        "tenants.Client", null=True, on_delete=models.PROTECT, related_name="+", db_index=False, editable=False
    )
    sequence = models.BigIntegerField(default=0, help_text="The number of entries.")
    hash = models.CharField(max_length=64, default=GENESIS)
    at = models.DateTimeField(null=True)

    class Meta:
        db_table = "audit_heads"
        constraints = [models.CheckConstraint(name="audit_heads_chain", condition=_of_its_client())]

    def __str__(self) -> str:
        return f"{self.chain} at {self.sequence}"


class AuditEntry(models.Model):
    """What was done, by whom, to what. The database refuses to change or delete it, whoever asks."""

    id = models.UUIDField(primary_key=True, editable=False, help_text="Grows with time, and along its chain.")
    chain = models.UUIDField(editable=False)
    client = models.ForeignKey(
        "tenants.Client", null=True, on_delete=models.PROTECT, related_name="+", db_index=False, editable=False
    )
    sequence = models.BigIntegerField(help_text="Its place in its chain, from 1 without gaps.")
    at = models.DateTimeField(help_text="By the database's clock.")
    actor = models.CharField(max_length=200, help_text="user:ID, operator:NAME, job:SLUG, cron, admin-key, ...")
    action = models.CharField(max_length=64)
    subject = models.CharField(max_length=200, blank=True, default="", help_text="What it was done to: KIND:ID.")
    data = models.JSONField(default=dict, blank=True)
    request_id = models.CharField(max_length=64, blank=True, default="")
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64, help_text="SHA-256 of all of the above in canonical form.")

    class Meta:
        db_table = "audit_log"
        verbose_name_plural = "audit entries"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(name="audit_log_place", fields=["chain", "sequence"]),
            models.CheckConstraint(name="audit_log_chain", condition=_of_its_client()),
            models.CheckConstraint(name="audit_log_sequence", condition=Q(sequence__gt=0)),
        ]
        indexes = [
            models.Index(name="audit_log_by_client", fields=["client", "-id"]),
            models.Index(name="audit_log_by_action", fields=["action", "-id"]),
            models.Index(name="audit_log_by_actor", fields=["actor", "-id"]),
        ]

    def __str__(self) -> str:
        return f"{self.action} by {self.actor}"

    @property
    def contents(self) -> dict[str, Any]:
        """What its hash covers."""
        return contents(
            id=self.id,
            chain=self.chain,
            sequence=self.sequence,
            at=self.at,
            actor=self.actor,
            action=self.action,
            subject=self.subject,
            data=self.data,
            request_id=self.request_id,
            previous_hash=self.previous_hash,
        )
