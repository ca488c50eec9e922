"""``make screenshots``: the README's pictures, taken from a platform that runs (`make run`) and has worked a little."""

import os
import sys
from pathlib import Path

import django

IMAGES = Path(__file__).parents[2] / "docs" / "images"


def main() -> None:
    """Log the demo's user and operator in, and take each picture."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.dev")
    django.setup()
    from django.conf import settings
    from django.test import Client as Browser

    from tests.browser import chromium
    from trading.jobs.models import JobRun
    from trading.tenants.models import User

    if chromium.find() is None:
        sys.exit(f"There is {chromium.MISSING}.")
    settings.ALLOWED_HOSTS = [*settings.ALLOWED_HOSTS, "testserver"]
    site = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}"

    def cookie(username: str) -> str:
        browser = Browser()
        browser.force_login(User.objects.get(username=username), backend="trading.tenants.backends.PasswordBackend")
        return f"sessionid={browser.cookies['sessionid'].value}"

    cycle = JobRun.objects.filter(job="execution-cycle", state="succeeded").order_by("-id").first()
    if cycle is None:
        sys.exit("No execution cycle has succeeded yet. Start `make run`, wait for its first chains, then repeat this.")
    with chromium.logged_in(site, cookie("demo")) as address:
        chromium.picture(f"{address}/app/", IMAGES / "dashboard.png", size=(1280, 1330))
        chromium.picture(f"{address}/app/", IMAGES / "dashboard-dark.png", dark=True, size=(1280, 1330))
        chromium.picture(f"{address}/app/runs/{cycle.id}", IMAGES / "run.png", size=(1280, 1150))
    with chromium.logged_in(site, cookie("admin")) as address:
        chromium.picture(f"{address}/admin/jobs/jobrun/", IMAGES / "admin-runs.png", size=(1440, 800))


if __name__ == "__main__":
    main()
