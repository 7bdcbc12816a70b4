"""The base class of the views: the caller, pages of rows, answers read again after the commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.http import QueryDict
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from hopper.actors import Actor
from hopper.rest.fields import NoFields
from hopper.rest.thread_serializers import validated
from hopper.rest.viewset import HopperViewSet
from instances.api.permissions import actor_of, known_places
from instances.api.shown import shown_events
from instances.history import feed
from instances.models import EventQuerySet, IdempotencyRecord


class Answering(HopperViewSet):
    """A viewset that calls services. `body` reads the input; `fresh` and `paged` answer."""

    answers = IdempotencyRecord

    @property
    def actor(self) -> Actor:
        """Return the caller."""
        return actor_of(self.request)

    def body(self, serializer: type[BaseSerializer[Any]] = NoFields, **context: Any) -> Any:
        """Return the validated body. A missing body counts as {}. Raises ValidationError."""
        return validated(serializer, self.given(), **context)

    def given(self) -> Any:
        """Return the body as it came; none at all is an empty one."""
        given = self.request.data
        return {} if isinstance(given, QueryDict) else given

    def fresh(self, show: Callable[[], Any], status: int = 200, *, known: Any = None) -> Response:
        """Return the answer of `show`, and call `show` again after the commit and the placing.

        `known` is what it shows now, where the caller has just read the rows.
        """
        response = Response(show() if known is None else known, status=status)
        # The viewset calls this attribute of Hopper after the commit.
        response.refresh = show  # type: ignore[attr-defined]
        return response

    def paged_events(self, rows: EventQuerySet) -> Response:
        """Return one page of events, without names of instances that the caller may not know."""
        known = known_places(self.actor)
        return self.paged(feed(rows), lambda page: shown_events(page, known))

    def paged(self, rows: Any, show: Callable[[Sequence[Any]], list[Any]]) -> Response:
        """Return one page of `rows`."""
        page = self.paginate_queryset(self.filter_queryset(rows))
        return self.get_paginated_response(show(page or []))
