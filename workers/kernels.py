"""The kernels of backtests in every worker, before its first run."""

import gc
import importlib
import subprocess
import sys
import threading
from typing import Any

import structlog
from celery import signals

from trading.quant import warm

log = structlog.get_logger("quantum.worker")


def prepare() -> None:
    """Load the kernels into this process, whose children share them; called before there are any.

    Where they are not compiled yet, nobody waits for that: it is done beside the worker, and its processes read what is
    on disk when they first need it.
    """
    if warm.is_compiled():
        warm.warm()
        importlib.import_module("trading.backtests.parquet")  # pyarrow takes as long as all kernels
        gc.freeze()  # what is not looked at by the children's collectors stays shared with them
    else:
        signals.worker_ready.connect(_compile_beside)


def _compile_beside(**_: Any) -> None:
    threading.Thread(target=_compile, name="kernels", daemon=True).start()


def _compile() -> None:
    """In a process of its own, which yields to every other."""
    done = subprocess.run(["nice", "-n", "19", sys.executable, "-m", "trading.quant.warm"], capture_output=True)  # noqa: S607
    if done.returncode:
        log.warning("kernels.not_compiled", error=done.stderr.decode(errors="replace")[-2000:])
