"""Streams of changes (server-sent events): one for a page, one for a program.

A stream holds no thread. All streams of a process share one look at the feed a second. Every few
seconds a stream reads the rights of its reader again, and ends where they changed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import APIException
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from delegation.pages.live import Viewer
from delegation.pages.readers import READERS, Reader
from delegation.pages.visit import Visit, signed_in
from delegation.pages.watch import WATCH
from hopper.actors import EVERYWHERE, Actor
from hopper.errors import HopperError
from hopper.rest.input import MAX_PARAMETER, integer, whole
from hopper.rest.streams import STREAM_HEADERS, StreamRenderer
from hopper.serving.application import in_thread
from instances.api.base import Answering
from instances.api.permissions import require_seen_instance, visible_events
from instances.api.shown import shown_events
from instances.models import ArchiveFile, Event, HopperInstance

TICK_SECONDS = 1.0
CHECK_SECONDS = 5.0
"""The time between two readings of a reader's rights."""

QUIET_SECONDS = 15.0
"""After so long without a change a stream sends a comment, so that the connection stays open."""

MOST_EVENTS = 500
"""The most events that a program's stream reads at once."""


class NoStreams(HopperError):
    """This server has no streams: poll, or serve by `hopper serve`."""

    status = 501
    code = "no_streams"


def streaming(
    request: HttpRequest, next_parts: Callable[[bool], list[str] | None]
) -> StreamingHttpResponse:
    """Return a stream. `next_parts(check)` returns its next parts, None for its end.

    With `check` it reads the rights of the reader again. Raises NoStreams without ASGI.
    """
    if not hasattr(request, "scope"):
        raise NoStreams
    content = _parts(next_parts)
    return StreamingHttpResponse(content, content_type="text/event-stream", headers=STREAM_HEADERS)


async def _parts(next_parts: Callable[[bool], list[str] | None]) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n"
    checked = told = time.monotonic()
    while True:
        now = time.monotonic()
        check = now - checked >= CHECK_SECONDS
        checked = now if check else checked
        parts = await in_thread(next_parts, check)
        if parts is None:
            return
        if parts or now - told >= QUIET_SECONDS:
            told = now
            yield "".join(parts or [": \n\n"]).encode()
        await asyncio.sleep(TICK_SECONDS)


def _part(number: int, data: Any, event: str = "") -> str:
    named = f"event: {event}\n" if event else ""
    return f"id: {number}\n{named}data: {json.dumps(data, default=str)}\n\n"


def _begin(request: HttpRequest, query: QueryDict) -> int:
    """Return the number of the last event that the reader has: of a lost stream, or `after`."""
    last = whole(request.headers.get("Last-Event-ID", ""))
    if last is not None and last <= MAX_PARAMETER:
        return last
    return integer(query, "after", least=0, most=MAX_PARAMETER, default=0)


class PageStream:
    """The stream of one open page."""

    def __init__(self, visit: Visit) -> None:
        self.viewer = Viewer(visit.actor, visit.request.GET.dict(), visit.attention)
        self.reader = Reader.of(visit.request)
        self.after = _begin(visit.request, visit.request.GET)
        self.number: int | None = None

    def next_parts(self, check: bool) -> list[str] | None:
        """Return the next message in a list, [] for none, None where the rights changed."""
        if self.reader and READERS.actor(self.reader) != self.viewer.actor:
            return None
        WATCH.look()
        if not WATCH.is_ready:
            return []
        if self.number is None:
            self.number = WATCH.number_at(self.after)
        elif self.number == WATCH.number and not self.viewer.waiting:
            return []
        seen, counted = WATCH.number, self.viewer.counted
        told = self.viewer.message(self.number, self.after)
        self.number, self.after = seen, told["after"]
        news = any(told.get(name) for name in ("rows", "gone", "again"))
        return [_part(self.after, told)] if news or told["attention"] != counted else []


@signed_in
def stream(visit: Visit) -> HttpResponse:
    """Stream the changes of an open page; the messages are those of `changes`."""
    found: Any = streaming(visit.request, PageStream(visit).next_parts)
    # The stubs keep streams and whole answers apart; the decorators pass both on.
    return found  # type: ignore[no-any-return]


def _parts_up_to(actor: Actor, under: str | None, after: int, last: int) -> tuple[int, list[str]]:
    """Return the parts of a program's stream up to a position, and the position that they reach.

    All streams that ask for the same, with the same sight, share one query.
    """

    def read() -> tuple[int, list[str]]:
        rows: Any = visible_events(actor).in_feed()
        if under is not None:
            rows = rows.filter(instance__in=HopperInstance.objects.under(under).values("pk"))
        found = list(rows.filter(number__gt=after, number__lte=last)[:MOST_EVENTS])
        reached = found[-1].number if len(found) == MOST_EVENTS else last
        shown = zip(found, shown_events(found), strict=True)
        return reached, [_part(row.number, told, row.kind) for row, told in shown]

    sees = EVERYWHERE if EVERYWHERE in actor.grants else (actor.id, *sorted(actor.grants))
    return WATCH.once((sees, under, after, last), read)


class EventStream(Answering):
    """The feed as a stream."""

    queryset = Event.objects.none()
    pagination_class = None
    filter_backends = ()
    renderer_classes = (JSONRenderer, StreamRenderer)
    query_parameters = {"retrieve": ("after", "under")}

    @extend_schema(exclude=True)
    def retrieve(self, request: Request) -> HttpResponse:
        """Stream the events that the caller may see, after `after`, at and below `under`."""
        query, outer = request.query_params, request._request
        under = query.get("under")
        if under is not None:
            require_seen_instance(self.actor, under)
        after, actor, begun = _begin(outer, query), self.actor, False

        def next_parts(check: bool) -> list[str] | None:
            nonlocal after, begun
            if check and not self._has_still(actor):
                return None
            if not begun:
                begun = True
                if (archived := ArchiveFile.last_position()) > after:
                    return [_part(after, {"archived_up_to": archived}, "archived")]
            WATCH.look()
            if after >= WATCH.cursor:
                return []
            after, parts = _parts_up_to(actor, under, after, WATCH.cursor)
            return parts

        found: Any = streaming(outer, next_parts)
        # The stubs keep streams and whole answers apart; the decorators pass both on.
        return found  # type: ignore[no-any-return]

    def _has_still(self, actor: Any) -> bool:
        """Return whether the credential is still good for the same rights."""
        outer = self.request._request
        if self.request.auth is None and (reader := Reader.of(outer)):
            return bool(READERS.actor(reader) == actor)
        try:
            fresh = self.initialize_request(outer)
            self.request = fresh
            return bool(fresh.user.is_authenticated and self.actor == actor)
        except APIException:
            return False
