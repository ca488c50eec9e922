"""The jobs that exist. A module declares one with `Job`; being imported by `discover` registers it."""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from trading.jobs.context import StepContext
from trading.jobs.outcomes import StepResult

QUEUES = ("critical", "default", "bulk")


class Arguments(BaseModel):
    """A job's arguments: ids and small values, checked when a run is enqueued and again when it starts."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, str_max_length=2000)


class NoArguments(Arguments):
    """For a job that needs none."""


A = TypeVar("A", bound=Arguments)


@dataclass(frozen=True)
class Step(Generic[A]):
    """One link of a chain. ``effects`` marks a step that reaches outside the database: a dry run leaves it out."""

    run: Callable[[StepContext, A], StepResult]
    effects: bool = False

    @property
    def name(self) -> str:
        """The function's name, as the ledger shows it."""
        return self.run.__name__.replace("_", "-")


@dataclass(frozen=True)
class Cadence:
    """When beat enqueues a job: every ``seconds`` (0: never), or by a five-field ``cron`` line in ``timezone``."""

    seconds: int = 0
    cron: str = ""
    timezone: str = "UTC"
    at_start: bool = False
    """Also whenever a beat starts, without waiting for the next moment."""


@dataclass(frozen=True)
class Job(Generic[A]):
    """A declared job: a slug, a chain of steps and how it is to be run."""

    slug: str
    title: str
    steps: tuple[Step[A], ...]
    arguments: type[A]
    queue: str = "default"
    per_client: bool = False
    """One run for each client: it needs a client, and its schedule enqueues one for every active client."""
    unique: Callable[[A, UUID | None], str] | None = None
    """The key under which only one run may be live at a time; empty string for no such limit."""
    max_attempts: int = 5
    timeout: timedelta = timedelta(minutes=5)
    """Each step's limit; past it the step is stopped and counts as failed."""
    backoff: timedelta = timedelta(seconds=2)
    """The first delay before another try; it doubles each time up to an hour, with jitter."""
    cadence: Cadence | None = None
    client_startable: bool = False
    """Whether a client's own user may start or retry it; others are the operators' alone."""
    log_name: str = ""

    def __post_init__(self) -> None:
        if self.queue not in QUEUES:
            raise ValueError(f"job {self.slug}: queue {self.queue!r} is not one of {', '.join(QUEUES)}")
        if not self.steps or len(self.step_names) != len(set(self.step_names)):
            raise ValueError(f"job {self.slug}: needs steps, each with a name of its own")

    @cached_property
    def step_names(self) -> tuple[str, ...]:
        """The chain, in order."""
        return tuple(step.name for step in self.steps)

    @cached_property
    def needs_arguments(self) -> bool:
        """Whether it cannot be enqueued without any."""
        return any(field.is_required() for field in self.arguments.model_fields.values())

    def step(self, name: str) -> Step[A]:
        """The step called ``name``; ``LookupError`` when this version of the code has none."""
        for step in self.steps:
            if step.name == name:
                return step
        raise LookupError(f"job {self.slug} has no step {name!r} in this version of the code")


class UnknownJob(LookupError):
    """No job has this slug."""

    code = "unknown_job"

    def __init__(self, slug: str) -> None:
        super().__init__(f"No job is called {slug!r}. Known jobs: {', '.join(sorted(registry.slugs())) or 'none'}.")


@dataclass
class Registry:
    """The declared jobs by slug."""

    _jobs: dict[str, Job[Any]] = field(default_factory=dict)

    def add(self, job: Job[Any]) -> None:
        """Register ``job``; two jobs with one slug are a mistake in the code."""
        known = self._jobs.get(job.slug)
        if known is not None and known is not job:
            raise ValueError(f"two jobs are called {job.slug!r}")
        self._jobs[job.slug] = job

    def remove(self, slug: str) -> None:
        """Forget a job, as a test that declared one does."""
        del self._jobs[slug]

    def get(self, slug: str) -> Job[Any]:
        """The job called ``slug``; `UnknownJob` when there is none."""
        try:
            return self._jobs[slug]
        except KeyError:
            raise UnknownJob(slug) from None

    def slugs(self) -> Iterable[str]:
        """All slugs."""
        return self._jobs.keys()

    def __iter__(self) -> Iterator[Job[Any]]:
        return iter(self._jobs.values())

    def discover(self, package: str) -> None:
        """Register ``JOB`` of every module in ``package`` (or of ``package`` itself when it is a module)."""
        module = importlib.import_module(package)
        modules = [module]
        if hasattr(module, "__path__"):
            names = sorted(info.name for info in pkgutil.iter_modules(module.__path__))
            modules = [importlib.import_module(f"{package}.{name}") for name in names]
        for found in modules:
            jobs: Mapping[str, Any] = vars(found)
            for job in jobs.values():
                if isinstance(job, Job):
                    self.add(job)


registry = Registry()
