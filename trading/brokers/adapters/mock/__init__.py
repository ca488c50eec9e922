"""A venue that is not there: futures, options on them, and what market data knows, at prices that follow from the time.

Nothing can be lost at it, so that it stands in for real venues while ``USE_MOCK_BROKER`` is on.
"""

from trading.brokers.adapters.mock.session import MockAdapter

ADAPTER = MockAdapter()
