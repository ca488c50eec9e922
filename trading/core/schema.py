"""The error form as OpenAPI shows it."""

from rest_framework import serializers


class FieldErrorSerializer(serializers.Serializer[dict[str, object]]):
    """Where, and what."""

    loc = serializers.ListField(child=serializers.JSONField())
    message = serializers.CharField()


class ErrorDetailSerializer(serializers.Serializer[dict[str, object]]):
    """What went wrong."""

    type = serializers.CharField(help_text="snake_case, for programs")
    message = serializers.CharField(help_text="for people")
    errors = FieldErrorSerializer(many=True, required=False)  # type: ignore[assignment]  # also a property of the base


class ErrorSerializer(serializers.Serializer[dict[str, object]]):
    """Every error's form."""

    detail = ErrorDetailSerializer()
