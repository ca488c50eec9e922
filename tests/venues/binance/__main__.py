"""Start it by hand."""

from tests.venues.binance.api import BinanceVenue
from tests.venues.server import run

if __name__ == "__main__":
    run(BinanceVenue, ledger="binance.sqlite")
