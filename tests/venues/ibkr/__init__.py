"""An Interactive Brokers gateway on loopback that speaks the API's wire form, for clients of the real one.

Start it by hand with ``python -m tests.venues.ibkr --port 4002``. What it has taken is in the ledger, and
still there after a restart.
"""
