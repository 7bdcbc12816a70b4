"""The decorators of drf-spectacular that describe views for the OpenAPI schema.

A command without a server never draws a schema. There this module gives stand-ins that do
nothing, so that the package need not be loaded.
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
        """A class with every attribute, each without meaning."""

        def __getattr__(cls, name: str) -> None:
            return None

    class OpenApiParameter(metaclass=_Unsaid):
        def __init__(self, *args: Any, **options: Any) -> None:
            """Accept and ignore all arguments."""

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
