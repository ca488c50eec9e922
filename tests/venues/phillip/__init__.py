"""A broker's REST API as PhillipCapital's public documents outline theirs: OAuth2 client credentials, orders, a ledger.

``python -m tests.venues.phillip --port N --ledger FILE``; the first account is ``test-client``, ``test-client-secret``.
A client order id is kept and can be asked for, but one that comes twice is a second order.
"""
