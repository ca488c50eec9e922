"""Start it by hand."""

from tests.venues.phillip.api import PhillipVenue
from tests.venues.server import run

if __name__ == "__main__":
    run(PhillipVenue, ledger="phillip.sqlite")
