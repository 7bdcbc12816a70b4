"""The form of a stream of server-sent events."""

from __future__ import annotations

from typing import Any

from rest_framework.renderers import BaseRenderer

STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class StreamRenderer(BaseRenderer):
    """Lets a program ask for `text/event-stream`."""

    media_type = "text/event-stream"
    format = "stream"

    def render(self, data: Any, *args: Any, **options: Any) -> bytes:
        """Return nothing: a stream is no rendered answer."""
        return b""
