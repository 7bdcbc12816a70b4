"""Serializers that each thread keeps: to make their fields takes longer than to use them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import local
from typing import Any

from rest_framework.serializers import BaseSerializer


class _Kept(local):
    """The serializers of a thread by their class."""

    def __init__(self) -> None:
        self.serializers: dict[type[BaseSerializer[Any]], Any] = {}


_KEPT = _Kept()


@contextmanager
def _kept(kind: type[BaseSerializer[Any]], context: dict[str, Any]) -> Iterator[Any]:
    """Lend the serializer of this class with its context."""
    kept = _KEPT.serializers
    serializer = kept[kind] = kept.get(kind) or kind()
    # A row may show rows of its own kind.
    around, serializer._context = serializer._context, context
    try:
        yield serializer
    finally:
        serializer._context = around


def as_json(
    kind: type[BaseSerializer[Any]], rows: Iterable[Any], **context: Any
) -> list[dict[str, Any]]:
    """Return rows as `kind(rows, many=True, context=context).data` does."""
    with _kept(kind, context) as serializer:
        return [serializer.to_representation(row) for row in rows]


def validated(kind: type[BaseSerializer[Any]], given: Any, **context: Any) -> Any:
    """Return a body as `kind(data=given, context=context)` validates it. Raises ValidationError."""
    with _kept(kind, context) as serializer:
        serializer.initial_data = given
        try:
            serializer.is_valid(raise_exception=True)
            return serializer.validated_data
        finally:
            # The thread must keep no body. The next body is validated from the start.
            for name in ("initial_data", "_validated_data", "_errors"):
                vars(serializer).pop(name, None)
