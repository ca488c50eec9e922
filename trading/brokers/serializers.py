"""Onboarding and the connection of a broker, as requests and answers have them."""

from rest_framework import serializers

from trading.brokers.models import AccountStatus
from trading.core.serializers import StrictSerializer
from trading.tenants.serializers import RiskParametersSerializer


class ConnectSerializer(StrictSerializer):
    """A broker and what its adapter asks for."""

    broker = serializers.CharField(max_length=32, help_text="The name of an adapter, such as `binance`.")
    credentials = serializers.DictField(required=False, help_text="As the broker asks for them; none for paper.")


class OnboardSerializer(StrictSerializer):
    """A new client with its first user, who owns it."""

    name = serializers.CharField(max_length=120)
    username = serializers.CharField(max_length=150)
    password = serializers.CharField(max_length=256, trim_whitespace=False)
    broker = serializers.CharField(max_length=32, required=False, help_text="May be connected later.")
    credentials = serializers.DictField(required=False)
    risk = RiskParametersSerializer(required=False)


class BrokerAccountSerializer(serializers.Serializer[dict[str, object]]):
    """An account at a broker. Nothing of what was handed over is in it."""

    broker = serializers.CharField()
    status = serializers.ChoiceField(choices=AccountStatus.values)
    connected_at = serializers.DateTimeField()
    tested_at = serializers.DateTimeField()


class OnboardedSerializer(serializers.Serializer[dict[str, object]]):
    """What was made."""

    client_id = serializers.UUIDField()
    name = serializers.CharField()
    username = serializers.CharField()
    broker = serializers.CharField(allow_null=True)
