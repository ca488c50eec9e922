"""Flower as its own process beside the real broker: closed without the login, every route of it, and useful with it."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis
from flower.urls import handlers

from runtime.folder import DataFolder
from runtime.valkey import ValkeyServer
from workers import flower

LOGIN = ("admin", "a-password-of-the-tests")
PROJECT = Path(__file__).parents[2]


def _routes() -> list[str]:
    """A path for each of Flower's own routes, so that a new one is tried too."""
    patterns = [getattr(handler, "regex", None) or re.compile(handler[0]) for handler in handlers]
    paths = {
        re.sub(r"\(\.[+*]\)|\.\*|\$|/\?", lambda found: "x" if "." in found[0] else "", p.pattern) for p in patterns
    }
    return sorted(path if path.startswith("/") else f"/{path}" for path in paths)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataFolder]:
    """A broker that no other test writes to or empties."""
    folder = DataFolder(tmp_path_factory.mktemp("flower"))
    with ValkeyServer(folder, persistent=False):
        yield folder


@pytest.fixture(scope="module")
def url(folder: DataFolder) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "FLOWER_PORT": str(port), "FLOWER_BASIC_AUTH": ":".join(LOGIN)}
    environment |= {"DJANGO_SETTINGS_MODULE": "config.settings.test", "QT_TEST_DATA_DIR": str(folder.root)}
    environment.pop("PYTEST_XDIST_WORKER", None)
    process = subprocess.Popen([sys.executable, "-m", "workers.flower"], cwd=PROJECT, env=environment)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/", timeout=2)
                break
            except httpx.TransportError:
                assert process.poll() is None, "Flower has ended"
                assert time.monotonic() < deadline, "Flower does not answer"
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_every_route_is_closed_without_the_login(url: str) -> None:
    routes = _routes()
    assert {"/metrics", "/healthcheck", "/broker", "/api/workers", "/login", "/static/x"} <= set(routes)
    with httpx.Client(base_url=url) as client:
        for path in [*routes, "/static/css/flower.css", "/api/tasks/events", "//metrics", "/METRICS", "/../metrics"]:
            for method in ("GET", "POST", "OPTIONS", "HEAD", "DELETE"):
                assert client.request(method, path).status_code == 401, f"{method} {path}"
                assert client.request(method, path, auth=("admin", "wrong")).status_code == 401, f"{method} {path}"
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        assert client.get("/api/task/events", headers={**upgrade, "Sec-WebSocket-Key": "x" * 16}).status_code == 401
        assert client.get("/", headers={"Authorization": "Basic !"}).status_code == 401


def test_the_login_opens_the_pages(url: str) -> None:
    with httpx.Client(base_url=url, auth=LOGIN) as client:
        for path in ("/", "/workers", "/tasks", "/broker", "/metrics", "/healthcheck", "/api/task/types"):
            assert client.get(path).status_code == 200, path
        assert "flower" in client.get("/workers").text.lower()


def test_queue_lengths_come_through_the_unix_socket(url: str, folder: DataFolder) -> None:
    server = redis.Redis(unix_socket_path=str(folder.valkey_socket))
    server.rpush("default", "one", "two")
    try:
        with httpx.Client(base_url=url, auth=LOGIN) as client:
            found = client.get("/api/queues/length").json()["active_queues"]
        assert {"name": "default", "messages": 2} in found
    finally:
        server.delete("default")
        server.close()


def test_another_sites_form_is_refused(url: str) -> None:
    with httpx.Client(base_url=url, auth=LOGIN) as client:
        answer = client.post("/api/worker/shutdown/all", headers={"Origin": "https://elsewhere.example"})
    assert answer.status_code == 403


@pytest.mark.parametrize("value", ["", "admin", "admin:", "admin:short", ":a-password-of-the-tests"])
def test_it_does_not_start_without_a_login(value: str) -> None:
    with pytest.raises(SystemExit, match="FLOWER_BASIC_AUTH"):
        flower.credentials_of(value)
