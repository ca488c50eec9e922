"""Prometheus metrics of the ledger, read from the database when asked."""

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Count, F, Min
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from trading.audit import mirror
from trading.core.ids import uuid7_at
from trading.execution.models import Difference, DifferenceKind, Order, Reconciliation
from trading.execution.selectors import gross_exposure
from trading.execution.states import LIVE
from trading.jobs import processes, selectors
from trading.jobs.models import JobAttempt
from trading.risk import halts
from trading.risk.models import Guard, RiskAccount, RiskDecision

RECENT_ATTEMPTS = 5_000


class LedgerCollector(Collector):
    """Queues, recent attempts, processes, the guard. Each is a few index lookups, however many runs there are."""

    def describe(self) -> list[Metric]:
        """Nothing at registration: the database need not be there yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read all."""
        yield from self._queues()
        yield from self._attempts()
        yield from self._processes()
        yield from self._guard()
        yield from self._orders()
        yield from self._audit()

    def _queues(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily("job_queue_waiting", "Runs that wait.", labels=["queue"])
        running = GaugeMetricFamily("job_queue_running", "Runs that are running.", labels=["queue"])
        oldest = GaugeMetricFamily("job_queue_oldest_seconds", "Since when the oldest has been due.", labels=["queue"])
        paused = GaugeMetricFamily("job_queue_paused", "1 while the queue is paused.", labels=["queue"])
        for queue in selectors.queue_states():
            labels = [queue.name]
            waiting.add_metric(labels, queue.waiting)
            running.add_metric(labels, queue.running)
            oldest.add_metric(labels, queue.oldest_age.total_seconds() if queue.oldest_age else 0.0)
            paused.add_metric(labels, float(queue.paused_at is not None))
        yield from (waiting, running, oldest, paused)

    def _attempts(self) -> Iterator[Metric]:
        newest = JobAttempt.objects.order_by("-id").values_list("id", flat=True).first() or 0
        recent = JobAttempt.objects.filter(id__gt=newest - RECENT_ATTEMPTS).filter(finished_at__isnull=False)
        labels = ["job", "step", "outcome"]
        outcomes = GaugeMetricFamily("job_attempts_recent", "How the newest attempts ended.", labels=labels)
        seconds = GaugeMetricFamily("job_attempt_seconds_recent", "Their time in all.", labels=labels)
        totals: dict[tuple[str, str, str], float] = {}
        rows = recent.annotate(job=F("run__job")).values_list("job", "step", "outcome", "started_at", "finished_at")
        counts: dict[tuple[str, str, str], int] = {}
        for job, step, outcome, started, finished in rows.iterator():
            key = (job, step, outcome)
            counts[key] = counts.get(key, 0) + 1
            totals[key] = totals.get(key, 0.0) + ((finished or started) - started).total_seconds()
        for key, count in sorted(counts.items()):
            outcomes.add_metric(list(key), count)
            seconds.add_metric(list(key), totals[key])
        yield from (outcomes, seconds)

    def _processes(self) -> Iterator[Metric]:
        alive = GaugeMetricFamily("job_processes_alive", "Processes heard of lately.", labels=["kind"])
        for kind in ("worker", "beat"):
            alive.add_metric([kind], processes.alive(kind).count())
        yield alive

    def _guard(self) -> Iterator[Metric]:
        guard = Guard.objects.filter(id=1).first()
        kill = GaugeMetricFamily("risk_kill_switch", "1 while no order is let through.")
        kill.add_metric([], float(guard is None or guard.kills or guard.halted))
        refusals = GaugeMetricFamily("risk_refusals", "Orders refused in 24 hours, by limit.", labels=["limit"])
        newest = RiskDecision.objects.filter(id__gte=uuid7_at(timezone.now() - timedelta(days=1)), approved=False)
        for row in newest.values("limit").annotate(n=Count("id")).order_by("limit"):
            refusals.add_metric([row["limit"]], row["n"])
        breakers = GaugeMetricFamily("risk_breakers_open", "Clients whose circuit breaker is open.")
        breakers.add_metric([], RiskAccount.objects.exclude(tripped_at=None).count())
        cancels = GaugeMetricFamily("risk_halt_orders", "Open orders that the last halt found.", labels=["outcome"])
        halt = halts.newest()
        for outcome, count in halts.counts(halt).items() if halt is not None else ():
            cancels.add_metric([outcome], count)
        exposure = GaugeMetricFamily("execution_gross_exposure", "As the last snapshots show it.")
        exposure.add_metric([], float(gross_exposure()))
        yield from (kill, refusals, breakers, cancels, exposure)

    def _orders(self) -> Iterator[Metric]:
        live = GaugeMetricFamily("orders_live", "Orders of which something may still come.", labels=["state"])
        counts = Order.objects.filter(state__in=LIVE).order_by().values_list("state").annotate(n=Count("id"))
        found = dict(counts)
        for state in LIVE:
            live.add_metric([state], found.get(state, 0))
        standing = GaugeMetricFamily("order_differences", "What venues say otherwise than we do.", labels=["kind"])
        differing = Difference.objects.filter(resolved_at__isnull=True).order_by()
        kinds = dict(differing.values_list("kind").annotate(n=Count("id")))
        for kind in DifferenceKind:
            standing.add_metric([kind], kinds.get(kind, 0))
        age = GaugeMetricFamily(
            "reconciliation_age_seconds",
            "Since the last full comparison, at worst; -1: of an account there has been none yet.",
            labels=["broker"],
        )
        accounts = Reconciliation.objects.order_by().values_list("broker")
        for broker, at, number, compared in accounts.annotate(Min("checked_at"), Count("id"), Count("checked_at")):
            is_known = at is not None and compared == number  # the least of them passes over those without any
            age.add_metric([broker], (timezone.now() - at).total_seconds() if is_known else -1)
        yield from (live, standing, age)

    def _audit(self) -> Iterator[Metric]:
        behind = GaugeMetricFamily("audit_mirror_behind", "Audit entries that this host's mirror lacks; -1: not known.")
        try:
            behind.add_metric([], mirror.behind())
        except mirror.MirrorFailed:
            behind.add_metric([], -1)
        yield behind


LEDGER = CollectorRegistry()
"""Apart from the process's own registry, which Flower and others in the process read too."""
LEDGER.register(LedgerCollector())
