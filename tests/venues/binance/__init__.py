"""Binance Spot over REST, as its public documents describe it.

``python -m tests.venues.binance --port N --ledger FILE``; the first account is ``test-key``, ``test-secret``.
Orders trade against a book that the control port sets, never against each other.
"""
