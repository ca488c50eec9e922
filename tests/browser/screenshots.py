"""``make screenshots``: the pictures of the docs, taken from a platform that runs (`make run`) and has worked a little.

It submits a sweep and its best point for the demo client, where that has not been done, and waits for them.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import django

IMAGES = Path(__file__).parents[2] / "docs" / "images"
LONGEST_SECONDS = 120.0
SEARCH: dict[str, Any] = {
    "config": {
        "symbol": "AAPL",
        "timeframe": "1d",
        "start": "2010-01-04",
        "end": "2011-12-30",
        "strategy": {"name": "dual_sma"},
        "execution": {"fee_bps": 1, "slippage_bps": 2},
    },
    "parameters": {"fast": {"from": 5, "to": 50, "step": 5}, "slow": {"from": 20, "to": 200, "step": 20}},
}


def main() -> None:
    """Log the demo's user and operator in, and take each picture."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.dev")
    django.setup()
    from tests.browser import chromium
    from trading.core.scope import platform_scope

    if chromium.find() is None:
        sys.exit(f"There is {chromium.MISSING}.")
    with platform_scope():
        take()


def take() -> None:
    """Every picture."""
    from django.conf import settings
    from django.test import Client as Browser

    from tests.browser.chromium import logged_in, picture
    from trading.backtests.parsing import parse
    from trading.backtests.sweeps.config import parse as parse_sweep
    from trading.jobs.models import JobRun
    from trading.tenants.models import User

    settings.ALLOWED_HOSTS = [*settings.ALLOWED_HOSTS, "testserver"]
    site = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}"
    demo = User.objects.get(username="demo")

    def cookie(username: str) -> str:
        browser = Browser()
        browser.force_login(User.objects.get(username=username), backend="trading.tenants.backends.PasswordBackend")
        return f"sessionid={browser.cookies['sessionid'].value}"

    cycle = JobRun.objects.filter(job="execution-cycle", state="succeeded").order_by("-id").first()
    if cycle is None:
        sys.exit("No execution cycle has succeeded yet. Start `make run`, wait for its first chains, then repeat this.")
    sweep = finished(parse_sweep(SEARCH), demo.client_id)
    assert sweep.metrics is not None  # it has finished
    tests: dict[str, Any] = {"permutation": {}, "bootstrap": {}}
    best = finished(parse({**sweep.metrics["best"]["config"], "validation": tests}), demo.client_id)
    with logged_in(site, cookie("demo")) as address:
        picture(f"{address}/app/", IMAGES / "dashboard.png", size=(1280, 1330))
        picture(f"{address}/app/", IMAGES / "dashboard-dark.png", dark=True, size=(1280, 1330))
        picture(f"{address}/app/runs/{cycle.id}", IMAGES / "run.png", size=(1280, 1150))
        picture(f"{address}/app/orders", IMAGES / "orders.png", size=(1280, 640))
        picture(f"{address}/app/sweeps/{sweep.run_hash}", IMAGES / "sweep.png", size=(1280, 1500))
        picture(f"{address}/app/backtests/{best.run_hash}", IMAGES / "backtest.png", size=(1280, 1500))
    with logged_in(site, cookie("admin")) as address:
        picture(f"{address}/app/risk", IMAGES / "risk.png", size=(1280, 1180))
        picture(f"{address}/admin/jobs/jobrun/", IMAGES / "admin-runs.png", size=(1440, 800))


def finished(config: Any, client_id: Any) -> Any:
    """The run or sweep of a configuration, once the platform's workers have worked it out."""
    from trading.backtests import services

    run = services.submit(config, client_id=client_id, by="screenshots").run
    deadline = time.monotonic() + LONGEST_SECONDS
    while not run.manifest_hash:
        if time.monotonic() > deadline:
            sys.exit(f"{run} was not worked out in {LONGEST_SECONDS:.0f} s; look at its page under Job runs.")
        time.sleep(0.5)
        run.refresh_from_db()
    return run


if __name__ == "__main__":
    main()
