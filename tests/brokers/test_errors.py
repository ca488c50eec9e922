"""A venue's failure in the API: exactly the contract's fields, 502, or 503 when another try is safe."""

import json

import pytest

from trading.brokers.base import BrokerError, BrokerRefused, BrokerUnavailable, OutcomeUnknown
from trading.core.errors import exception_handler


@pytest.mark.parametrize(
    ("kind", "status", "retryable"),
    [(BrokerRefused, 502, False), (OutcomeUnknown, 502, False), (BrokerUnavailable, 503, True)],
)
def test_the_form_of_a_broker_error(kind: type[BrokerError], status: int, retryable: bool) -> None:
    error = kind("No route.", broker="ibkr", operation="place", code="1100", context={"symbol": "ES"})
    answer = exception_handler(error, {})
    assert answer is not None
    assert answer.status_code == status
    assert json.loads(json.dumps(answer.data)) == {
        "detail": {
            "type": "broker_error",
            "operation": "place",
            "broker": "ibkr",
            "code": "1100",
            "message": "No route.",
            "retryable": retryable,
            "context": {"symbol": "ES"},
        }
    }


def test_how_long_to_wait_is_a_header() -> None:
    error = BrokerUnavailable("Slow down.", broker="binance", operation="quote", code="429", retry_after=7)
    answer = exception_handler(error, {})
    assert answer is not None
    assert answer.headers["Retry-After"] == "7"
