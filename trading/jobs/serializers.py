"""Runs as OpenAPI shows them; `trading.jobs.selectors` makes what they describe."""

from rest_framework import serializers

from trading.jobs.states import Outcome, State, Trigger

Shape = serializers.Serializer[dict[str, object]]


class ProgressSerializer(Shape):
    """How far a run is."""

    done = serializers.IntegerField()
    total = serializers.IntegerField()
    note = serializers.CharField(allow_blank=True)


class RunErrorSerializer(Shape):
    """Why it did not succeed."""

    type = serializers.CharField()
    message = serializers.CharField(allow_blank=True)


class RunSummarySerializer(Shape):
    """A run in a list."""

    id = serializers.UUIDField()
    job = serializers.CharField()
    state = serializers.ChoiceField(choices=State.choices)
    client_id = serializers.UUIDField(allow_null=True)
    queue = serializers.CharField()
    attempt = serializers.IntegerField()
    max_attempts = serializers.IntegerField()
    progress = ProgressSerializer()
    error = RunErrorSerializer(allow_null=True)
    trigger = serializers.ChoiceField(choices=Trigger.values)
    request_id = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    scheduled_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)


class RunListSerializer(Shape):
    """A page of runs."""

    results = RunSummarySerializer(many=True)
    next = serializers.CharField(allow_null=True)


class StepSerializer(Shape):
    """One link of the chain."""

    name = serializers.CharField()
    state = serializers.ChoiceField(choices=State.choices)
    attempt = serializers.IntegerField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    error = RunErrorSerializer(allow_null=True)


class AttemptSerializer(Shape):
    """One try at a step."""

    number = serializers.IntegerField()
    step = serializers.CharField()
    worker = serializers.CharField()
    code_version = serializers.CharField()
    started_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    outcome = serializers.ChoiceField(choices=Outcome.values, allow_null=True)
    error = RunErrorSerializer(allow_null=True)


class RunSerializer(RunSummarySerializer):
    """A run in full."""

    args = serializers.DictField()
    steps = StepSerializer(many=True)
    attempts = AttemptSerializer(many=True)
    result = serializers.JSONField(allow_null=True)


class SignedTaskSerializer(Shape):
    """The job's arguments, and the client that a per-client job works for."""

    args = serializers.DictField(required=False)
    client_id = serializers.UUIDField(required=False, allow_null=True)


class EnqueuedSerializer(Shape):
    """The run; ``created`` is false when a live one of a unique job answered."""

    run_id = serializers.UUIDField()
    created = serializers.BooleanField()
