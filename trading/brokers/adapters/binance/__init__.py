"""Binance Spot: its REST API, signed, within its limits; user data by polling.

What it does not do for us: a client order id is unique only among open orders, so that nothing is ever sent twice.
"""

from trading.brokers.adapters.binance.session import BinanceAdapter

ADAPTER = BinanceAdapter()
