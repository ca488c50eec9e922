"""What public clients ask Binance's venue server for beside orders: their tickers and lists of trades."""

import hashlib
import hmac
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from tests.venues.process import VenueProcess

TRADED = [["60000.01000000", "0.01000000"], ["60000.01000000", "0.29000000"], ["60000.57000000", "0.10000000"]]
"""A purchase of 0.01, and one of 0.39 that takes the rest of the first level's 0.3 and 0.1 of the next."""


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    venue = VenueProcess("binance", tmp_path / "ledger.sqlite")
    with httpx.Client(base_url=venue.url, headers={"X-MBX-APIKEY": "test-key"}) as line:
        for quantity in ("0.01", "0.39"):
            query = urlencode({"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": quantity,
                               "timestamp": int(time.time() * 1000)})  # fmt: skip
            signature = hmac.new(b"test-secret", query.encode(), hashlib.sha256).hexdigest()
            assert line.post(f"/api/v3/order?{query}&signature={signature}").status_code == 200
        yield line
    venue.close()


def test_trades_of_everybody_are_listed_in_both_forms(client: httpx.Client) -> None:
    trades = client.get("/api/v3/trades", params={"symbol": "BTCUSDT"}).json()
    assert [[row["price"], row["qty"]] for row in trades] == TRADED
    assert trades[1]["quoteQty"] == "17400.00290000"
    joined = client.get("/api/v3/aggTrades", params={"symbol": "BTCUSDT", "limit": 1}).json()
    assert [[row["p"], row["q"], row["m"]] for row in joined] == [[*TRADED[2], False]]
    assert client.get("/api/v3/trades", params={"symbol": "ETHUSDT"}).json() == []


def test_the_ticker_of_a_day(client: httpx.Client) -> None:
    ticker = client.get("/api/v3/ticker/24hr", params={"symbol": "BTCUSDT"}).json()
    assert (ticker["lastPrice"], ticker["lastQty"], ticker["volume"]) == (*TRADED[2], "0.40000000")
    assert ticker["quoteVolume"] == "24000.06000000"  # 600.0001 + 17400.0029 + 6000.057
    assert (ticker["count"], ticker["closeTime"] - ticker["openTime"]) == (3, 86_400_000)
    every = client.get("/api/v3/ticker/24hr").json()
    assert {row["symbol"]: row["count"] for row in every} == {"BTCUSDT": 3, "ETHUSDT": 0, "SOLUSDT": 0, "ETHBTC": 0}


def test_bars_for_pages_are_the_bars(client: httpx.Client) -> None:
    asked = {"symbol": "BTCUSDT", "interval": "1h", "limit": 2}
    assert client.get("/api/v3/uiKlines", params=asked).json() == client.get("/api/v3/klines", params=asked).json()


def test_what_there_is_not(client: httpx.Client) -> None:
    answer = client.get("/api/v3/ticker/24hr", params={"symbol": "NOSUCH"})
    assert (answer.status_code, answer.json()["code"]) == (400, -1121)
