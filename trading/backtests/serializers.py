"""Runs and presets as OpenAPI shows them; `trading.backtests.selectors` makes what they describe."""

from rest_framework import serializers

from trading.backtests.models import Level
from trading.jobs.serializers import ProgressSerializer, RunErrorSerializer
from trading.jobs.states import State

STATUS = f"One of {', '.join(State.values)}."
Shape = serializers.Serializer[dict[str, object]]


class SubmittedSerializer(Shape):
    """A submission's answer; ``reused`` when nothing was started."""

    run_hash = serializers.CharField()
    status = serializers.CharField(help_text=STATUS)
    job_run_id = serializers.UUIDField()
    reused = serializers.BooleanField()


class ResearchSerializer(Shape):
    """What a run and a sweep show in a list; ``symbol`` or ``symbols`` is there."""

    status = serializers.CharField(help_text=STATUS)
    job_run_id = serializers.UUIDField(allow_null=True)
    symbol = serializers.CharField(required=False)
    symbols = serializers.ListField(child=serializers.CharField(), required=False)
    timeframe = serializers.CharField()
    start = serializers.CharField()
    end = serializers.CharField()
    strategy = serializers.CharField()
    leaks = serializers.IntegerField(
        allow_null=True,
        help_text="Beginnings of the data at which the look-ahead check caught the strategy, of a sweep its best; null"
        " where the check was not made.",
    )
    progress = ProgressSerializer(allow_null=True)
    error = RunErrorSerializer(allow_null=True)
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)


class BacktestSummarySerializer(ResearchSerializer):
    """A run in a list; ``symbol`` or ``symbols`` is there."""

    run_hash = serializers.CharField()
    metrics = serializers.DictField(allow_null=True)


class TrialsSerializer(Shape):
    """What is left of a Sharpe ratio among all that the client has tried on its market, by now; ratios a year."""

    count = serializers.IntegerField()
    deflated_sharpe = serializers.FloatField(allow_null=True)
    sharpe_threshold = serializers.FloatField(allow_null=True)


class BacktestListSerializer(Shape):
    """A page of runs."""

    results = BacktestSummarySerializer(many=True)
    next = serializers.CharField(allow_null=True)


class InFullSerializer(Shape):
    """What a run and a sweep show beside when one is asked for."""

    trials = TrialsSerializer(allow_null=True)
    config = serializers.DictField()
    data_hash = serializers.CharField()
    code_version = serializers.CharField()
    lock_hash = serializers.CharField()
    manifest_hash = serializers.CharField(allow_null=True)


class BacktestSerializer(BacktestSummarySerializer, InFullSerializer):
    """A run in full."""


class SweepSubmittedSerializer(Shape):
    """A submission's answer; ``reused`` when nothing was started."""

    sweep_hash = serializers.CharField()
    status = serializers.CharField(help_text=STATUS)
    job_run_id = serializers.UUIDField()
    reused = serializers.BooleanField()


class SweepSummarySerializer(ResearchSerializer):
    """A sweep in a list. ``progress`` counts the parts that are done."""

    sweep_hash = serializers.CharField()
    search = serializers.CharField()
    objective = serializers.CharField()
    parameters = serializers.ListField(child=serializers.CharField())
    summary = serializers.DictField(allow_null=True, help_text="As summary.json: best, overfitting, superiority.")


class SweepListSerializer(Shape):
    """A page of sweeps."""

    results = SweepSummarySerializer(many=True)
    next = serializers.CharField(allow_null=True)


class SweepSerializer(SweepSummarySerializer, InFullSerializer):
    """A sweep in full."""


class ManifestEntrySerializer(Shape):
    """One artifact."""

    filename = serializers.CharField()
    size = serializers.IntegerField()
    sha256 = serializers.CharField()


class ManifestSerializer(Shape):
    """manifest.json."""

    version = serializers.IntegerField()
    run_hash = serializers.CharField()
    data_hash = serializers.CharField()
    code_version = serializers.CharField()
    lock_hash = serializers.CharField()
    files = ManifestEntrySerializer(many=True)
    content_hash = serializers.CharField()
    chain_prev = serializers.CharField()
    manifest_hash = serializers.CharField()


class PresetSerializer(Shape):
    """A named configuration."""

    preset_id = serializers.CharField()
    name = serializers.CharField()
    config = serializers.DictField()
    created_at = serializers.DateTimeField()


class PresetListSerializer(Shape):
    """A page of presets."""

    results = PresetSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class PromotionSerializer(Shape):
    """A strategy that may trade, or once did; ``evidence`` holds the numbers that the rule looked at."""

    id = serializers.UUIDField()
    level = serializers.ChoiceField(choices=Level.values)
    strategy = serializers.CharField()
    strategy_sha256 = serializers.CharField()
    run_hash = serializers.CharField()
    content_hash = serializers.CharField()
    config = serializers.DictField()
    evidence = serializers.DictField()
    promoted_by = serializers.CharField()
    promoted_at = serializers.DateTimeField()
    demoted_by = serializers.CharField(allow_null=True)
    demoted_at = serializers.DateTimeField(allow_null=True)
    demoted_because = serializers.CharField(allow_null=True)


class PromotionListSerializer(Shape):
    """A page of promotions."""

    results = PromotionSerializer(many=True)
    next = serializers.CharField(allow_null=True)
