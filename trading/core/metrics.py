"""Counters of this process."""

from prometheus_client import REGISTRY, Counter, Histogram

REQUESTS = Counter("http_requests_total", "HTTP requests.", ["method", "route", "status"], registry=REGISTRY)
SECONDS = Histogram(
    "http_request_duration_seconds",
    "Time to answer.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
    registry=REGISTRY,
)
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


def observe_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count one request under its route, not its path: a path is the caller's to choose."""
    name = method if method in _METHODS else "other"
    REQUESTS.labels(name, route, str(status)).inc()
    SECONDS.labels(name, route).observe(seconds)
