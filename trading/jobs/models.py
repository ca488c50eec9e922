"""The ledger: every unit of background work is a row of `JobRun`, every try at one of its steps a `JobAttempt`."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from trading.core.ids import uuid7
from trading.jobs.states import FINAL, LIVE, WAITING, Outcome, State, Trigger


class JobRun(models.Model):
    """One run of a job: its arguments, where it stands, and what became of it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    client = models.ForeignKey(
        "tenants.Client", null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    job = models.CharField(max_length=64)
    queue = models.CharField(max_length=32)
    args = models.JSONField(default=dict)
    state = models.CharField(max_length=16, choices=State.choices, default=State.QUEUED)

    steps = ArrayField(
        models.CharField(max_length=64), help_text="The chain's step names, as declared when it was enqueued."
    )
    step_index = models.PositiveSmallIntegerField(default=0, help_text="The step that runs next or now.")
    returned = models.JSONField(default=dict, help_text="What each finished step returned, by its name.")
    attempt = models.PositiveSmallIntegerField(default=0, help_text="Tries of the current step so far.")
    max_attempts = models.PositiveSmallIntegerField(help_text="Tries that each step may have.")
    timeout = models.DurationField(help_text="How long one try of a step may take.")
    fence = models.PositiveIntegerField(
        default=0, help_text="Claims so far; a write that names an older one is refused."
    )

    scheduled_at = models.DateTimeField(db_default=Now(), help_text="Not before this time.")
    rung_at = models.DateTimeField(
        null=True, blank=True, help_text="When a message for it was last sent; empty while it waits for room."
    )
    worker = models.CharField(max_length=128, blank=True, default="")
    worker_pid = models.PositiveIntegerField(null=True, blank=True, help_text="The process that runs it.")
    stop_at = models.DateTimeField(null=True, blank=True, help_text="When the try that runs now has used its time.")
    lease_until = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)

    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.CASCADE, related_name="children")
    children_pending = models.PositiveIntegerField(default=0)
    unique_key = models.CharField(max_length=200, null=True, blank=True)
    schedule_slot = models.CharField(max_length=300, null=True, blank=True)

    progress_done = models.PositiveBigIntegerField(default=0)
    progress_total = models.PositiveBigIntegerField(default=0)
    progress_note = models.CharField(max_length=200, blank=True, default="")
    result = models.JSONField(null=True, blank=True)
    error_type = models.CharField(max_length=200, blank=True, default="")
    error_message = models.TextField(blank=True, default="")

    trigger = models.CharField(max_length=16, choices=Trigger.choices, default=Trigger.SERVICE)
    triggered_by = models.CharField(
        max_length=200, blank=True, default="", help_text="The user, schedule or run that asked for it."
    )
    request_id = models.CharField(max_length=64, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "job_runs"
        ordering = ["-id"]
        verbose_name = "job run"
        constraints = [
            models.CheckConstraint(name="job_runs_state_known", condition=Q(state__in=State.values)),
            models.CheckConstraint(
                name="job_runs_lease_iff_running",
                condition=Q(state=State.RUNNING, lease_until__isnull=False)
                | (~Q(state=State.RUNNING) & Q(lease_until__isnull=True)),
            ),
            models.CheckConstraint(
                name="job_runs_finished_iff_final",
                condition=Q(state__in=FINAL, finished_at__isnull=False)
                | (~Q(state__in=FINAL) & Q(finished_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="job_runs_progress_within_total", condition=Q(progress_done__lte=F("progress_total"))
            ),
            models.UniqueConstraint(
                name="job_runs_unique_live",
                fields=["job", "unique_key"],
                condition=Q(state__in=LIVE, unique_key__isnull=False),
            ),
            models.UniqueConstraint(
                name="job_runs_unique_slot",
                fields=["schedule_slot"],
                condition=Q(schedule_slot__isnull=False),
            ),
        ]
        indexes = [
            models.Index(name="job_runs_by_client", fields=["client", "-id"]),
            models.Index(name="job_runs_by_state", fields=["state", "-id"]),
            models.Index(name="job_runs_by_job", fields=["job", "-id"]),
            models.Index(name="job_runs_finished", fields=["finished_at"], condition=Q(finished_at__isnull=False)),
            models.Index(name="job_runs_leases", fields=["lease_until"], condition=Q(state=State.RUNNING)),
            models.Index(
                name="job_runs_parked",
                fields=["client", "queue", "scheduled_at"],
                condition=Q(state__in=WAITING, rung_at__isnull=True),
            ),
            models.Index(
                name="job_runs_rung",
                fields=["queue", "rung_at"],
                condition=Q(state__in=WAITING, rung_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.job} {self.id}"

    @property
    def step(self) -> str:
        """The name of the step that runs next or now; the last one's once the run has succeeded."""
        return str(self.steps[min(self.step_index, len(self.steps) - 1)])


class JobAttempt(models.Model):
    """One try at one step of a run, by one worker."""

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(JobRun, on_delete=models.CASCADE, related_name="attempts", db_index=False)
    number = models.PositiveIntegerField(help_text="The run's fence while this attempt held it.")
    step = models.CharField(max_length=64)
    attempt = models.PositiveSmallIntegerField(help_text="The how-manieth try of its step.")
    worker = models.CharField(max_length=128)
    code_version = models.CharField(max_length=64)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=16, choices=Outcome.choices, blank=True, default="")
    error_type = models.CharField(max_length=200, blank=True, default="")
    error_message = models.TextField(blank=True, default="")
    traceback = models.TextField(blank=True, default="")

    class Meta:
        db_table = "job_attempts"
        ordering = ["run", "number"]
        verbose_name = "job attempt"
        constraints = [models.UniqueConstraint(name="job_attempts_once", fields=["run", "number"])]

    def __str__(self) -> str:
        return f"{self.step} attempt {self.attempt} ({self.outcome or 'running'})"


class JobQueue(models.Model):
    """How one queue is run: whether it is paused, and how much of it one client may hold at once."""

    name = models.CharField(max_length=32, primary_key=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    paused_by = models.CharField(max_length=200, blank=True, default="")
    client_concurrency = models.PositiveSmallIntegerField(
        default=4,
        help_text="How many runs of one client may be running or about to run; the others wait their turn.",
    )

    class Meta:
        db_table = "job_queues"
        ordering = ["name"]
        verbose_name = "queue"
        constraints = [models.CheckConstraint(name="job_queues_room_for_one", condition=Q(client_concurrency__gte=1))]

    def __str__(self) -> str:
        return self.name


class JobProcess(models.Model):
    """A worker or beat process that has reported itself: where it runs, what it takes, and when it was last seen."""

    name = models.CharField(max_length=128, primary_key=True)
    kind = models.CharField(max_length=16, choices=[("worker", "Worker"), ("beat", "Beat")])
    pid = models.PositiveIntegerField()
    queues = ArrayField(models.CharField(max_length=32), default=list)
    concurrency = models.PositiveSmallIntegerField(default=1)
    running = models.PositiveSmallIntegerField(default=0, help_text="Runs that it holds now.")
    code_version = models.CharField(max_length=64)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    class Meta:
        db_table = "job_processes"
        ordering = ["name"]
        verbose_name = "worker process"
        verbose_name_plural = "worker processes"

    def __str__(self) -> str:
        return self.name


class TaskSignature(models.Model):
    """A signed request that was taken: it is not taken again."""

    digest = models.CharField(max_length=64, primary_key=True)
    taken_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "task_signatures"
        indexes = [models.Index(name="task_signatures_age", fields=["taken_at"])]

    def __str__(self) -> str:
        return self.digest
