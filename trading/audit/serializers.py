"""The audit log as OpenAPI shows it; `trading.audit.selectors.shown` makes what they describe."""

from rest_framework import serializers

Shape = serializers.Serializer[dict[str, object]]


class AuditEntrySerializer(Shape):
    """What was done, by whom, to what; with the hash that ties it to the entry before."""

    id = serializers.UUIDField()
    chain = serializers.UUIDField(help_text="The client's id.")
    sequence = serializers.IntegerField(help_text="Its place, from 1 without gaps.")
    at = serializers.DateTimeField()
    actor = serializers.CharField(help_text="`user:ID`, `operator:NAME`, `job:SLUG`, ...")
    action = serializers.CharField(help_text="Such as `order.sent`.")
    subject = serializers.CharField(allow_blank=True, help_text="`KIND:ID`.")
    data = serializers.DictField()  # type: ignore[assignment]  # also a property of the base
    request_id = serializers.CharField(allow_blank=True)
    previous_hash = serializers.CharField(min_length=64, max_length=64)
    hash = serializers.CharField(min_length=64, max_length=64, help_text="SHA-256 of all of the above.")


class AuditListSerializer(Shape):
    """A page of entries."""

    results = AuditEntrySerializer(many=True)
    next = serializers.CharField(allow_null=True)
