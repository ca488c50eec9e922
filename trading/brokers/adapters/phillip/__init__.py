"""PhillipCapital over REST, with OAuth2 client credentials; host and paths vary by country and are configured.

It is not known to deduplicate client order ids, so that an order is never posted twice, not even after a 401.
"""

from trading.brokers.adapters.phillip.session import PhillipAdapter

ADAPTER = PhillipAdapter()
