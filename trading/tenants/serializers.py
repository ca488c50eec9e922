"""A client's parameters as requests and answers have them."""

from typing import Any

from rest_framework import serializers

from trading.core.serializers import StrictSerializer

Shape = serializers.Serializer[dict[str, object]]


def _amount(help_text: str) -> Any:
    return serializers.DecimalField(
        max_digits=20, decimal_places=2, allow_null=True, required=False, help_text=help_text
    )


def _count(help_text: str) -> Any:
    return serializers.IntegerField(
        min_value=0, max_value=1_000_000, allow_null=True, required=False, help_text=help_text
    )


class RiskParametersSerializer(StrictSerializer):
    """Limits; null takes the platform's again, what is left out stays."""

    max_order_size = _amount("The most that one order may be worth.")
    max_daily_loss = _amount("The realised loss of a day after which only closing is allowed.")
    max_position_per_symbol = _amount("The most that one position may be worth.")
    max_gross_exposure = _amount("The most that all positions together may be worth.")
    max_net_delta = _amount("How far the net delta, as worth, may be from 0.")
    max_open_legs = _count("How many different symbols may be held.")
    max_spread_pct = _amount("How far bid and ask may be apart, in per cent.")
    breaker_losses = _count("Losses in a row after which only closing is allowed.")
    breaker_loss = _amount("A loss counts for that when it is larger.")
    market_hours = serializers.CharField(
        max_length=80,
        allow_null=True,
        required=False,
        help_text="When orders may be sent, inside the platform's hours: America/New_York mon-fri 09:30-16:00.",
    )


class StrategyParametersSerializer(StrictSerializer):
    """What cycles keep to; null takes the platform's again, what is left out stays."""

    symbols = serializers.ListField(
        child=serializers.CharField(max_length=32), max_length=1000, allow_null=True, required=False
    )
    cash_buffer = _amount("Cash that is kept out of the weights.")
    min_notional = _amount("Orders worth less are left out.")
    max_orders = _count("Orders in one cycle.")


class ParametersChangeSerializer(StrictSerializer):
    """A change of parameters."""

    risk = RiskParametersSerializer(required=False)
    strategy = StrategyParametersSerializer(required=False)


class RiskShownSerializer(Shape):
    """Limits; null: none."""

    max_order_size = serializers.CharField(allow_null=True)
    max_daily_loss = serializers.CharField(allow_null=True)
    max_position_per_symbol = serializers.CharField(allow_null=True)
    max_gross_exposure = serializers.CharField(allow_null=True)
    max_net_delta = serializers.CharField(allow_null=True)
    max_open_legs = serializers.IntegerField(allow_null=True)
    max_spread_pct = serializers.CharField(allow_null=True)
    breaker_losses = serializers.IntegerField(allow_null=True)
    breaker_loss = serializers.CharField(allow_null=True)
    market_hours = serializers.CharField(allow_null=True)


class StrategyShownSerializer(Shape):
    """What cycles keep to."""

    symbols = serializers.ListField(child=serializers.CharField(), allow_null=True)
    cash_buffer = serializers.CharField(allow_null=True)
    min_notional = serializers.CharField(allow_null=True)
    max_orders = serializers.IntegerField(allow_null=True)


class BothSerializer(Shape):
    """Risk and strategy."""

    risk = RiskShownSerializer()
    strategy = StrategyShownSerializer()


class ParametersSerializer(Shape):
    """A client's own parameters (null: the platform's), what holds (the stricter of both), and the platform's."""

    client_id = serializers.UUIDField()
    version = serializers.IntegerField(help_text="0: the client never set any.")
    changed_by = serializers.CharField(allow_null=True)
    changed_at = serializers.DateTimeField(allow_null=True)
    own = BothSerializer()
    in_force = BothSerializer()
    platform = BothSerializer()
