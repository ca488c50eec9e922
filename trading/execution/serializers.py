"""Positions and trades as OpenAPI shows them; `trading.execution.api` makes what they describe."""

from rest_framework import serializers

from trading.brokers.base import Side

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
