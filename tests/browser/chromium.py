"""Headless Chromium on a page that needs a login: the session's cookie is added on the way, by a small proxy."""

import http.client
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MISSING = "no Chromium on PATH (Debian: apt-get install chromium)"
PASSED_ON = ("content-type", "content-security-policy", "location", "cache-control")


def find() -> str | None:
    """The path of an installed Chromium; None when there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def logged_in(site: str, cookie: str) -> Iterator[str]:
    """The address of a proxy on the loopback interface that asks ``site`` with ``cookie`` on every request."""
    target = urlsplit(site)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            upstream = http.client.HTTPConnection(str(target.hostname), target.port, timeout=20)
            headers = {name: value for name, value in self.headers.items() if name.lower().startswith("hx-")}
            upstream.request("GET", self.path, headers={**headers, "Host": target.netloc, "Cookie": cookie})
            answer = upstream.getresponse()
            body = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() in PASSED_ON:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            upstream.close()

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def run(url: str, *flags: str, dark: bool = False, size: tuple[int, int] = (1280, 900)) -> tuple[str, list[str]]:
    """Open ``url``; what Chromium printed, and what the page's console said (errors and refused loads among it)."""
    program = find()
    if program is None:
        raise FileNotFoundError(MISSING)
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [
                program,
                "--headless=new",
                "--no-sandbox",  # in a container, as root, there is nothing to make one from
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--no-first-run",
                "--disable-background-networking",
                "--force-device-scale-factor=1",
                f"--user-data-dir={profile}",
                f"--window-size={size[0]},{size[1]}",
                "--enable-logging=stderr",
                "--virtual-time-budget=2500",
                *(["--blink-settings=preferredColorScheme=0"] if dark else ["--blink-settings=preferredColorScheme=1"]),
                *flags,
                url,
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    return done.stdout, re.findall(r"CONSOLE[^\n]*", done.stderr)


def picture(url: str, path: Path, *, dark: bool = False, size: tuple[int, int] = (1280, 900)) -> None:
    """Write a picture of ``url`` to ``path`` (PNG)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    run(url, f"--screenshot={path}", dark=dark, size=size)
