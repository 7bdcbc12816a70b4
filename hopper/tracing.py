"""Traces (W3C Trace Context): a task keeps its `traceparent`, and the spans of its way join it.

Spans are made only where OpenTelemetry is at work in the process before, as under
`opentelemetry-instrument hopper serve` (extra `otel`). Hopper itself imports nothing of it until
then. The `traceparent` of a request is kept with its new tasks in any case.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

HEADER = "traceparent"
VARIABLE = "TRACEPARENT"
"""The variable by which a worker tells its command the trace."""

_VALID = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

_of_request: ContextVar[str] = ContextVar("traceparent of the request", default="")


def valid(traceparent: str) -> str:
    """Return the text if it is a traceparent, else ""."""
    return traceparent if _VALID.fullmatch(traceparent) else ""


def current() -> str:
    """Return the traceparent of the open span; without one that of the request; "" for none."""
    api = _api()
    if api is not None:
        span = api.get_current_span().get_span_context()
        if span.is_valid:
            return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
    return _of_request.get()


def outgoing() -> dict[str, str]:
    """Return the header by which a request of this process joins the open trace."""
    found = current() or valid(os.environ.get(VARIABLE, ""))
    return {HEADER: found} if found else {}


@contextmanager
def of_request(traceparent: str) -> Iterator[None]:
    """Make the spans of a request part of the trace of its caller."""
    token = _of_request.set(valid(traceparent))
    try:
        yield
    finally:
        _of_request.reset(token)


@contextmanager
def span(name: str, traceparent: str = "", **attributes: str | None) -> Iterator[str]:
    """Open a span in the trace of `traceparent`, else of the request; yield its own traceparent.

    It lies below the open span where that is in the same trace. Without OpenTelemetry there is no
    span, and the traceparent of the trace is yielded.
    """
    api = _api()
    parent, here = valid(traceparent) or _of_request.get(), current()
    if api is None:
        yield parent
        return
    start = here if not parent or _trace_of(here) == _trace_of(parent) else parent
    named = {f"hopper.{key}": value for key, value in attributes.items() if value}
    tracer, context = api.get_tracer("hopper"), _context_of(start) if start else None
    with tracer.start_as_current_span(f"hopper {name}", context=context, attributes=named):
        yield current()


def _trace_of(traceparent: str) -> str:
    return traceparent[3:35]


def _context_of(traceparent: str) -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({HEADER: traceparent})


def _api() -> Any:
    """Return the API of OpenTelemetry if the process has loaded it, else None."""
    return sys.modules.get("opentelemetry.trace")
