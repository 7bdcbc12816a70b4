"""Filters of the templates: times, durations, chips, gauges, sparklines, safe Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

from django import template
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt

from delegation.pages.rows import STUCK
from hopper.counts import counted
from hopper.protocol import EVENTS
from instances import attention
from instances.choices import ATTENTION, WaitingCode as W

register = template.Library()

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_FLOWS = {W.IN_PROGRESS, W.READY_FOR_WORKER, W.WAITING_CHILDREN}
LONGEST_MARKDOWN = 100_000
"""The most characters of a description that are read as Markdown. A longer one is plain text."""

LABELS: dict[str, str] = {
    W.UNROUTABLE: "fits no instance",
    W.CAPABILITY_GAP: "needs a missing capability",
    W.HOP_LIMIT: "passed on too often",
    W.AMBIGUOUS_TARGET: "project is ambiguous",
    W.EXPLICIT_TARGET_MISSING: "named project is missing",
    W.EXPLICIT_TARGET_REFUSED: "named project refused",
    W.DEPENDENCY_FAILED: "predecessor failed",
    W.INPUT_REQUIRED: "needs an answer",
    W.HOLDER_NOT_STARTED: "instance not started",
    W.HOLDER_PAUSED: "instance paused",
    W.HOLDER_STOPPED: "instance stopped",
    W.HOLDER_ERROR: "instance in error",
    W.ANCESTOR_PAUSED: "paused above",
    W.ANCESTOR_STOPPED: "stopped above",
    W.ANCESTOR_ERROR: "error above",
    W.TARGET_PAUSED: "target paused",
    W.ROUTING: "being placed",
    W.AWAITING_ACCEPTANCE: "offer not answered",
    W.AWAITING_ESCALATION: "handed up, not answered",
    W.WAITING_DEPENDENCIES: "waits for predecessors",
    W.WAITING_CHILDREN: "waits for children",
    W.AT_CAPACITY: "all slots taken",
    W.QUEUE_POSITION: "waits in line",
    W.NOT_BEFORE: "starts later",
    W.RETRY_BACKOFF: "pauses before a retry",
    W.IN_PROGRESS: "in progress",
    W.READY_FOR_WORKER: "ready for a worker",
    W.MANUAL_QUEUE: "to take",
    W.AWAITING_TRIAGE: "to triage",
    W.UNASSIGNED: "no instance",
    attention.DEAD_LETTER: "failed for good",
    attention.STALE_HAND_WORK: "untouched for a day",
    attention.STALLED_PROGRESS: "no progress",
    attention.NAME_CLASH: "name is taken",
    attention.WEBHOOK_OFF: "webhook switched off",
    attention.DUE_SOON: "due soon",
    attention.OVERDUE: "overdue",
}
"""Each code of R26 and of attention in the words of the pages. The REST interface has the codes."""


def span(seconds: float) -> str:
    """Return a length of time in one unit: `45 s`, `3 min`, `5 h`, `2 d`."""
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return "0 s"


register.filter("span", span)
register.filter("counted", counted)


def _time(value: Any) -> datetime | None:
    return parse_datetime(value) if isinstance(value, str) else value


@register.filter
def ago(value: Any) -> SafeString | str:
    """Return a time as `3 min ago` or `in 3 min`, with the exact one on hover."""
    at = _time(value)
    if at is None:
        return ""
    seconds = _since(at)
    words = f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"
    return _element(at, words, "ago")


@register.filter
def age(value: Any) -> SafeString | str:
    """Return the length of time since a moment, with the moment on hover."""
    at = _time(value)
    return _element(at, span(_since(at)), "age") if at else ""


def _since(at: datetime) -> float:
    # Words for people, so the clock of this process will do: the database's takes a query.
    return (timezone.now() - at).total_seconds()


def _element(at: datetime, words: str, form: str) -> SafeString:
    iso = at.isoformat(timespec="seconds")
    exact = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    return format_html(
        '<time datetime="{}" title="{}" class="{}">{}</time>', iso, exact, form, words
    )


@register.filter
def tone(code: str) -> str:
    """Return the tone of a wait: `bad`, `hand` (a person acts), `ok` (it flows) or `wait`."""
    if code in ATTENTION or code.endswith("Error") or code in ("DeadLetter", "Overdue"):
        return "bad"
    if code in STUCK or code in ("ManualQueue", "StaleHandWork", "StalledProgress", "DueSoon"):
        return "hand"
    return "ok" if code in _FLOWS else "wait"


@register.simple_tag
def chip(code: str, number: int = 0) -> SafeString:
    """Return a reason in its words and tone, with the number of its tasks; the code on hover."""
    many = format_html(" <b>{}</b>", number) if number > 1 else ""
    return format_html(
        '<span class="chip {}" title="{}">{}{}</span>', tone(code), code, label(code), many
    )


@register.filter
def label(code: str) -> str:
    """Return a reason in plain words."""
    return LABELS.get(code) or words(code)


@register.filter
def words(code: str) -> str:
    """Return a code as words: `queue_full` becomes `queue full`."""
    spaced = "".join(f" {one.lower()}" if one.isupper() else one for one in str(code))
    return spaced.replace("_", " ").strip()


@register.filter
def happened(kind: str) -> str:
    """Return the meaning of a kind of event."""
    return EVENTS.get(kind, kind)


@register.simple_tag
def gauge(used: int, most: int) -> SafeString:
    """Return a bar of used slots, full where the limit is reached."""
    width = min(48, round(48 * used / most)) if most else 48
    state = "full" if used >= most else "some"
    return format_html(
        '<svg class="gauge {}" viewBox="0 0 48 6" width="48" height="6" aria-hidden="true">'
        '<rect class="track" width="48" height="6" rx="3"/>'
        '<rect class="used" width="{}" height="6" rx="3"/></svg>',
        state, width,
    )  # fmt: skip


@register.filter
def spark(numbers: Sequence[int]) -> SafeString:
    """Return bars for the tasks done in the last hour, three minutes a bar."""
    if not any(numbers):
        return SafeString()
    bars = [sum(numbers[at : at + 3]) for at in range(0, len(numbers), 3)]
    top = max(bars)
    path = "".join(
        f"M{4 * at} 16v-{max(1, round(16 * bar / top))}h3v{max(1, round(16 * bar / top))}z"
        for at, bar in enumerate(bars)
        if bar
    )
    return format_html(
        '<svg class="spark" viewBox="0 0 80 16" width="80" height="16" role="img" '
        'aria-label="{} done in the last hour"><path d="{}"/></svg>',
        sum(numbers), path,
    )  # fmt: skip


class Reader(MarkdownIt):
    """Reads Markdown. Links lead to web and mail addresses only."""

    def validateLink(self, url: str) -> bool:
        """Return whether the link is kept."""
        return url.lower().startswith(("https://", "http://", "mailto:"))


@cache
def _reader() -> Reader:
    """Return the reader: HTML is shown as text, and images are left out."""
    reader = Reader("commonmark", {"html": False})
    reader.enable("table").disable("image")
    reader.add_render_rule("link_open", _link_open)
    return reader


def _link_open(self: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    """Open a link without telling the other site where the reader comes from."""
    tokens[index].attrSet("rel", "noopener noreferrer nofollow")
    return str(self.renderToken(tokens, index, options, env))


@register.filter
def markdown(text: str) -> SafeString:
    """Return a text of anybody as safe HTML."""
    if len(text) > LONGEST_MARKDOWN:
        return format_html("<pre>{}</pre>", text)
    html: str = _reader().render(text)
    return mark_safe(html)  # noqa: S308 - the reader escapes all HTML


@register.filter
def as_json(value: Any) -> str:
    """Return a JSON value for a reader; a text as it is."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)


@register.filter
def get(mapping: Any, key: Any) -> Any:
    """Return the value of a key, or nothing."""
    return mapping.get(key) if mapping else None


@register.simple_tag(takes_context=True)
def place(context: Any, instance_id: str | None) -> SafeString | str:
    """Return an instance as a link to its page; an invisible one is not named."""
    if not instance_id:
        return "no instance"
    known = context["visit"].places
    if instance_id not in known:
        return format_html('<span class="muted">{}</span>', "an instance you cannot see")
    return format_html('<a href="/instances/{}">{}</a>', instance_id, known[instance_id])


@register.filter
def joined(parts: Any) -> SafeString:
    """Return words as tags."""
    return format_html_join(" ", '<span class="tag">{}</span>', ((one,) for one in parts))
