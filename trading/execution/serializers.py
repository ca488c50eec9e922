"""Positions, trades and orders as OpenAPI shows them; `trading.execution.api` makes what they describe."""

from decimal import Decimal

from rest_framework import serializers

from trading.brokers.base import OrderType, Side, TimeInForce
from trading.core.serializers import StrictSerializer
from trading.execution.states import OrderState

Shape = serializers.Serializer[dict[str, object]]


class PositionGreeksSerializer(Shape):
    """Sensitivities of the whole position, in units of its symbol."""

    delta = serializers.CharField()
    gamma = serializers.CharField()
    vega = serializers.CharField()
    theta = serializers.CharField()
    rho = serializers.CharField()


class PositionSerializer(Shape):
    """What is held of one symbol: the sum of its fills."""

    symbol = serializers.CharField()
    quantity = serializers.CharField(help_text="Negative when short.")
    average_cost = serializers.CharField(help_text="Per unit, without fees.")
    price = serializers.CharField(allow_null=True, help_text="The newest close; null when none is known.")
    value = serializers.CharField(allow_null=True)
    unrealised_pnl = serializers.CharField(allow_null=True)
    realised_pnl = serializers.CharField(help_text="Less fees.")
    greeks = PositionGreeksSerializer(allow_null=True, help_text="Null where they are not known.")
    updated_at = serializers.DateTimeField()


class PositionListSerializer(Shape):
    """All positions, by symbol."""

    results = PositionSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class TradeSerializer(Shape):
    """An execution, as the venue reported it."""

    id = serializers.UUIDField()
    order_id = serializers.UUIDField()
    client_order_id = serializers.CharField()
    broker = serializers.CharField()
    execution_id = serializers.CharField(help_text="The venue's.")
    symbol = serializers.CharField()
    side = serializers.ChoiceField(choices=[side.value for side in Side])
    quantity = serializers.CharField(help_text="Positive.")
    price = serializers.CharField()
    fee = serializers.CharField(help_text="What it was worth in the account's money.")
    realised_pnl = serializers.CharField(help_text="Profit on what it closed, less its fee.")
    time = serializers.DateTimeField()


class TradeListSerializer(Shape):
    """A page of trades, newest first."""

    results = TradeSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class OrderSerializer(Shape):
    """An order, and where it stands."""

    id = serializers.UUIDField()
    client_order_id = serializers.CharField(help_text="Ours, by which the venue is asked.")
    broker = serializers.CharField()
    broker_order_id = serializers.CharField(help_text="The venue's; empty where it has said none.")
    run_id = serializers.UUIDField(allow_null=True, help_text="The run that intended it, while that is kept.")
    replaces = serializers.UUIDField(allow_null=True, help_text="The order in whose place it stands.")
    symbol = serializers.CharField()
    side = serializers.ChoiceField(choices=[side.value for side in Side])
    quantity = serializers.CharField(help_text="Positive.")
    order_type = serializers.ChoiceField(choices=[kind.value for kind in OrderType])
    limit_price = serializers.CharField(allow_null=True)
    time_in_force = serializers.ChoiceField(choices=[kind.value for kind in TimeInForce])
    state = serializers.ChoiceField(choices=OrderState.choices)
    reason = serializers.CharField()
    filled_quantity = serializers.CharField()
    average_price = serializers.CharField(allow_null=True)
    fees = serializers.CharField(help_text="What they were worth in the account's money.")
    created_at = serializers.DateTimeField()
    sent_at = serializers.DateTimeField(allow_null=True)
    cancel_requested_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)


class OrderListSerializer(Shape):
    """A page of orders, newest first."""

    results = OrderSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class OrderEventSerializer(Shape):
    """What happened to an order, from the audit log."""

    at = serializers.DateTimeField()
    action = serializers.CharField(help_text="Such as `order.sent`.")
    actor = serializers.CharField()
    details = serializers.DictField(help_text="By action: quantities, prices, reasons.")


class OrderDetailSerializer(OrderSerializer):
    """An order with its executions, and with all that happened to it."""

    fills = TradeSerializer(many=True, help_text="Oldest first, at most 200.")
    events = OrderEventSerializer(many=True, help_text="Oldest first, at most 200.")


class OrderChangeSerializer(Shape):
    """What was asked for."""

    order = OrderSerializer()
    run_id = serializers.UUIDField(allow_null=True, help_text="The run that does it; null where it is done.")


class CancelOrderSerializer(StrictSerializer):
    """Nothing: the body may be left out or be empty."""


def _positive() -> serializers.DecimalField:
    return serializers.DecimalField(max_digits=28, decimal_places=8, min_value=Decimal("1e-8"))


class ReplaceOrderSerializer(StrictSerializer):
    """What is to stand in the place of what is left of an order."""

    quantity = _positive()
    limit_price = _positive()
