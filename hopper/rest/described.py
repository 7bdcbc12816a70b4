"""What views say of themselves for the OpenAPI schema.

Where no schema is ever drawn, as in a command without a server, saying it costs nothing: the
words of drf-spectacular stand here as ones that do nothing, and the package is not loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings

if TYPE_CHECKING or "drf_spectacular" in settings.INSTALLED_APPS:
    from drf_spectacular.types import OpenApiTypes
    from drf_spectacular.utils import (
        OpenApiParameter,
        OpenApiResponse,
        PolymorphicProxySerializer,
        extend_schema,
        extend_schema_field,
        extend_schema_view,
    )
else:

    class _Unsaid(type):
        """A class of which every name is there and means nothing."""

        def __getattr__(cls, name: str) -> None:
            return None

    class OpenApiParameter(metaclass=_Unsaid):
        def __init__(self, *args: Any, **options: Any) -> None:
            """Take everything and keep nothing."""

    OpenApiResponse = OpenApiTypes = PolymorphicProxySerializer = OpenApiParameter

    def extend_schema(*args: Any, **options: Any) -> Any:
        return lambda described: described

    extend_schema_field = extend_schema_view = extend_schema

__all__ = [
    "OpenApiParameter",
    "OpenApiResponse",
    "OpenApiTypes",
    "PolymorphicProxySerializer",
    "extend_schema",
    "extend_schema_field",
    "extend_schema_view",
]
