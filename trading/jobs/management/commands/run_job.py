"""``manage.py run_job SLUG``: enqueue a job and wait for its end, or show what it would do."""

import argparse
import getpass
import json
import time
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from trading.jobs import processes, services
from trading.jobs.models import JobRun
from trading.jobs.outcomes import StepError
from trading.jobs.registry import UnknownJob, registry
from trading.jobs.rehearsal import rehearse
from trading.jobs.services import InvalidArguments
from trading.jobs.states import FINAL, State, Trigger
from trading.tenants.models import Client

POLL_SECONDS = 0.25


class Command(BaseCommand):
    """Enqueue a job as beat or the API would, and follow it; ``--dry-run`` goes through its steps with no effect."""

    help = "Run a job by its slug, or show what it would do."

    def add_arguments(self, parser: CommandParser) -> None:
        """Slug, arguments, client, and whether to rehearse or to wait."""
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = "jobs:\n" + "\n".join(
            f"  {job.slug:<20} {job.title}" for job in sorted(registry, key=lambda job: job.slug)
        )
        parser.add_argument("slug")
        parser.add_argument("--args", dest="arguments", default="{}", help="the job's arguments as a JSON object")
        parser.add_argument("--client", help="the client that a per-client job works for: its name or id")
        parser.add_argument("--dry-run", action="store_true", help="go through the steps and undo them")
        parser.add_argument("--no-wait", action="store_true", help="enqueue, print the run's id and return")

    def handle(self, *args: Any, **options: Any) -> None:
        """Rehearse, or enqueue and follow."""
        try:
            arguments = json.loads(options["arguments"])
        except ValueError as error:
            raise CommandError(f"--args is not JSON: {error}. Write for example --args '{{\"days\": 7}}'.") from None
        if not isinstance(arguments, dict):
            raise CommandError("--args must be a JSON object, for example --args '{\"days\": 7}'.")
        client_id = self._client_id(options["client"])
        try:
            if options["dry_run"]:
                self._rehearse(options["slug"], arguments, client_id)
                return
            enqueued = services.enqueue(
                options["slug"],
                arguments,
                client_id=client_id,
                trigger=Trigger.COMMAND,
                triggered_by=f"run_job by {getpass.getuser()}",
            )
        except (UnknownJob, InvalidArguments) as error:
            raise CommandError(str(error)) from None
        if not enqueued.created:
            self.stdout.write("A run of this job is live already; following that one.")
        self.stdout.write(str(enqueued.run.id))
        if not options["no_wait"]:
            self._follow(enqueued.run.id)

    def _client_id(self, named: str | None) -> UUID | None:
        if named is None:
            return None
        try:
            wanted = Client.objects.filter(id=UUID(named))
        except ValueError:
            wanted = Client.objects.filter(name=named)
        client = wanted.first()
        if client is None:
            known = ", ".join(Client.objects.order_by("name").values_list("name", flat=True)[:20])
            raise CommandError(f"No client is called {named!r}. Known clients: {known or 'none'}.")
        return client.id

    def _rehearse(self, slug: str, arguments: dict[str, Any], client_id: UUID | None) -> None:
        try:
            for rehearsed in rehearse(slug, arguments, client_id=client_id):
                self.stdout.write(f"{rehearsed.step}: {rehearsed.said}")
                if rehearsed.value:
                    self.stdout.write(json.dumps(rehearsed.value, indent=2, default=str))
        except StepError as error:
            raise CommandError(f"The job would fail: {error}") from None
        self.stdout.write("Nothing was changed.")

    def _follow(self, run_id: UUID) -> None:
        shown = ""
        warned = False
        began = time.monotonic()
        while True:
            run = JobRun.objects.get(id=run_id)
            line = f"{run.state}: step {run.step} {run.progress_note}".rstrip()
            if line != shown:
                self.stdout.write(line)
                shown = line
            if run.state in FINAL:
                break
            if not warned and time.monotonic() - began > 3 and not processes.alive("worker").exists():
                self.stdout.write("No worker is running: start one with `make run`. The run is kept until then.")
                warned = True
            time.sleep(POLL_SECONDS)
        if run.state != State.SUCCEEDED:
            raise CommandError(f"The run {run.state}: {run.error_message or 'no error recorded'}")
        self.stdout.write(json.dumps(run.result, indent=2))
