"""A notebook's client: submit backtests and sweeps, wait for them, and have what they leave as data frames.

>>> from trading.backtests.client import Platform
>>> with Platform.login("http://localhost:8000", "ann", password) as platform:
...     run = platform.run({"symbol": "TEST", "timeframe": "1d", "start": "2018-01-01", "end": "2023-12-31",
...                         "strategy": {"name": "dual_sma"}})
...     run.wait(print)
...     run.equity().set_index("time")["equity"].plot()

It needs httpx, pandas and pyarrow, and nothing else of the platform.
"""

import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import httpx
import pandas as pd

ENDED: Final = frozenset({"succeeded", "failed", "cancelled", "discarded"})
Progress = Callable[[str], object]


class Refused(Exception):
    """The platform said no; ``status`` and ``detail`` are its answer, in whose words the message is."""

    def __init__(self, status: int, detail: Mapping[str, Any]) -> None:
        places = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['message']}" for one in detail.get("errors", []))
        super().__init__(f"{detail.get('message', 'The platform did not say why.')} {places}".strip())
        self.status, self.detail = status, dict(detail)


class Unfinished(Exception):
    """What was waited for failed, was cancelled, or took longer than was allowed; or nobody has waited for it yet."""


class Unreachable(Exception):
    """Nothing answers at the platform's address, or not in time."""


@dataclass(frozen=True)
class Platform:
    """A connection with somebody's token. Close it, or use it in a ``with``."""

    http: httpx.Client

    @classmethod
    def login(cls, url: str, username: str, password: str, *, transport: httpx.BaseTransport | None = None) -> Self:
        """Log in at ``url``; raises `Refused`."""
        platform = cls(httpx.Client(base_url=url, timeout=30.0, transport=transport))
        try:
            answer = platform.ask("POST", "/auth/login", {"username": username, "password": password}).json()
        except BaseException:  # whatever it was: the caller gets nothing to close
            platform.close()
            raise
        platform.http.headers["Authorization"] = f"Bearer {answer['access_token']}"
        return platform

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self.http.close()

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """The platform's answer; raises `Refused` for one that is none, and `Unreachable`."""
        try:
            answer = self.http.request(method, path, json=body)
        except httpx.TransportError as error:
            why = f"{self.http.base_url} does not answer ({error}): is the platform running (make run) at that address?"
            raise Unreachable(why) from None
        if answer.is_success:
            return answer
        try:
            detail = answer.json()["detail"]
        except (ValueError, KeyError):
            detail = {"message": f"{answer.status_code} {answer.reason_phrase}"}
        raise Refused(answer.status_code, detail)

    def run(self, config: Mapping[str, Any]) -> "Run":
        """Submit a backtest, as ``POST /runs`` takes it; one that was submitted before is that one."""
        return Run(self, str(self.ask("POST", "/runs", dict(config)).json()["run_hash"]))

    def sweep(self, config: Mapping[str, Any]) -> "Sweep":
        """Submit a sweep, as ``POST /sweeps`` takes it; one that was submitted before is that one."""
        return Sweep(self, str(self.ask("POST", "/sweeps", dict(config)).json()["sweep_hash"]))


@dataclass(frozen=True)
class _Work:
    platform: Platform
    hash: str

    _path = ""

    def details(self) -> dict[str, Any]:
        """As the API shows it now."""
        found: dict[str, Any] = self.platform.ask("GET", f"{self._path}/{self.hash}").json()
        return found

    def wait(self, progress: Progress | None = None, *, seconds: float = 3_600.0, every: float = 0.25) -> Self:
        """Come back when it has succeeded; ``progress`` is told in words how far it is.

        Raises `Unfinished` when it did not succeed, or not within ``seconds``.
        """
        began, told = time.monotonic(), ""
        while True:
            found = self.details()
            how_far = found["progress"] or {"done": 0, "total": 0, "note": ""}
            words = f"{found['status']} {how_far['done']}/{how_far['total']} {how_far['note']}".strip()
            if progress is not None and words != told:
                progress(words)
                told = words
            if found["status"] == "succeeded":
                return self
            if found["status"] in ENDED:
                error = found["error"] or {"message": "nobody said why"}
                raise Unfinished(f"It {found['status']}: {error['message']}")
            if time.monotonic() - began > seconds:
                raise Unfinished(f"It is still {found['status']} after {seconds:g} s.")
            time.sleep(every)

    def _figures(self, name: str) -> dict[str, Any]:
        found = self.details()
        if found[name] is None:
            raise Unfinished(f"It is {found['status']}: call wait() first.")
        return dict(found[name])

    def artifact(self, name: str) -> bytes:
        """The bytes of one of the files that it left."""
        return self.platform.ask("GET", f"{self._path}/{self.hash}/artifacts/{name}").content

    def table(self, name: str) -> pd.DataFrame:
        """One of its tables, with its types: times are in UTC."""
        return pd.read_parquet(io.BytesIO(self.artifact(f"{name}.parquet")))


class Run(_Work):
    """A backtest."""

    _path = "/runs"

    def metrics(self) -> dict[str, Any]:
        """Its figures; raises `Unfinished`."""
        return self._figures("metrics")

    def equity(self) -> pd.DataFrame:
        """Time, equity, cash and drawdown at each close."""
        return self.table("equity")

    def trades(self) -> pd.DataFrame:
        """A row for each trade."""
        return self.table("trades")

    def fills(self) -> pd.DataFrame:
        """A row for each fill."""
        return self.table("fills")

    def positions(self) -> pd.DataFrame:
        """Units held of each symbol at each close."""
        return self.table("positions")


class Sweep(_Work):
    """A search."""

    _path = "/sweeps"

    def summary(self) -> dict[str, Any]:
        """The best point and what it is worth: deflated Sharpe ratio, overfitting, superiority; raises `Unfinished`."""
        return self._figures("summary")

    def points(self) -> pd.DataFrame:
        """A row for each point: the parameters that were varied, then the figures."""
        return self.table("points")

    def heatmap(self, down: str, across: str, *, figure: str = "sharpe") -> pd.DataFrame:
        """The mean of a figure over two parameters, by their full or short names: a row for each value of ``down``.

        Raises ``ValueError`` for a name that the points do not have.
        """
        points = self.points()
        names = [
            next((name for name in points if name in (one, f"strategy.params.{one}")), one) for one in (down, across)
        ]
        for name in (*names, figure):
            if name not in points:
                raise ValueError(f"the points have no {name!r}; they have: {', '.join(points)}")
        return points.pivot_table(index=names[0], columns=names[1], values=figure, aggfunc="mean")
