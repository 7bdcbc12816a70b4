"""The shape of a problem (RFC 9457), for the schema and for answers that hold problems."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class ProblemErrorSerializer(serializers.Serializer[Any]):
    """One invalid field."""

    field = serializers.CharField()
    code = serializers.CharField()
    detail = serializers.CharField()


class ProblemSerializer(serializers.Serializer[Any]):
    """RFC 9457. Further members give the present state and the allowed values."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField()
    detail = serializers.CharField()
    # The stubs know `errors` as the errors of validation, and `max_length` only of lists.
    errors = ProblemErrorSerializer(  # type: ignore[assignment,call-arg]
        many=True, required=False, max_length=20
    )
    more_errors = serializers.IntegerField(
        required=False, min_value=1, help_text="The number of errors that are not named."
    )
