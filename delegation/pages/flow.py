"""The page of the flow: how much was done, refused and rescued, and how long tasks waited."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models.functions import TruncHour, TruncMinute
from django.http import HttpResponse

from delegation.pages.visit import Visit, page
from hopper import database
from hopper.actors import EVERYWHERE
from hopper.errors import Invalid
from instances.api.permissions import seen_instance, visible_instances
from instances.minutes import (
    CLAIMED,
    CREATED,
    DONE,
    FAILED,
    REFUSED,
    RESCUED,
    WAITED,
    Key,
    counts_since,
)

MOST_REASONS = 8


@dataclass(frozen=True)
class Window:
    """A length of time, and the length of the bar that stands for a part of it."""

    word: str
    length: timedelta
    bar: timedelta
    bar_words: str
    trunc: Any


WINDOWS = {
    one.word: one
    for one in (
        Window("1h", timedelta(hours=1), timedelta(minutes=1), "a minute", TruncMinute),
        Window("24h", timedelta(hours=24), timedelta(minutes=30), "half an hour", TruncMinute),
        Window("7d", timedelta(days=7), timedelta(hours=4), "4 hours", TruncHour),
    )
}


@dataclass
class Line:
    """One figure over a window: a number for each bar."""

    title: str
    bars: list[int]
    tone: str = ""

    @property
    def total(self) -> int:
        """The sum over the window."""
        return sum(self.bars)

    @property
    def top(self) -> int:
        """The highest bar."""
        return max(self.bars, default=0)

    @property
    def path(self) -> str:
        """The bars as the path of a drawing of 600 by 80."""
        if not self.top:
            return ""
        wide = 600 / len(self.bars)
        heights = [max(1.0, 80 * bar / self.top) if bar else 0 for bar in self.bars]
        return "".join(
            f"M{at * wide:.1f} 80v-{height:.1f}h{max(1, wide - 1):.1f}v{height:.1f}z"
            for at, height in enumerate(heights)
            if height
        )


@dataclass
class Flow:
    """The figures of one window."""

    window: Window
    since: datetime
    lines: dict[str, Line] = field(default_factory=dict)
    refusals: list[tuple[str, int]] = field(default_factory=list)
    waits: list[tuple[str, int]] = field(default_factory=list)
    claims: int = 0


@page
def flow(visit: Visit) -> HttpResponse:
    """Show the flow over `window`: 1h, 24h or 7d; with `under`, of one instance and all below.

    Raises Invalid for another window.
    """
    asked = visit.request.GET
    window = WINDOWS.get(asked.get("window", "1h"))
    if window is None:
        raise Invalid.field("window", f"must be one of {', '.join(WINDOWS)}")
    under = seen_instance(visit.actor, asked["under"]) if asked.get("under") else None
    return visit.show(
        "pages/flow.html",
        flow=flow_of(visit, window, under.pk if under else None),
        windows=list(WINDOWS),
        window=window.word,
        under=under,
    )


def flow_of(visit: Visit, window: Window, under: str | None = None) -> Flow:
    """Return the figures of a window for visible instances, on request at and below one."""
    now = database.now()
    since = now - window.length
    seen = None if EVERYWHERE in visit.actor.grants else visible_instances(visit.actor)
    if under is not None:
        seen = visible_instances(visit.actor).under(under)
    counts = counts_since(since, seen, bar=window.trunc)
    found = Flow(window, since)
    bars = {name: [0] * (window.length // window.bar) for name in LINES}
    for (moment, _, what), number in counts.items():
        name = REFUSED.strip() if what.startswith(REFUSED) else what
        if name in bars:
            ago = int((now - moment) / window.bar)
            bars[name][-1 - min(ago, len(bars[name]) - 1)] += number
    found.lines = {name: Line(title, bars[name], tone) for name, (title, tone) in LINES.items()}
    found.refusals = refusals_in(counts).most_common(MOST_REASONS)
    waits = waits_in(counts)
    found.claims = waits.total()
    if waits:
        parts = (("half of them within", 0.5), ("9 of 10 within", 0.9), ("all of them within", 1.0))
        found.waits = [(words, within(waits, part)) for words, part in parts]
    return found


LINES = {
    CREATED: ("Created", ""),
    CLAIMED: ("Claimed", ""),
    DONE: ("Done", "good"),
    FAILED: ("Failed", "bad"),
    REFUSED.strip(): ("Refused", "wait"),
    RESCUED: ("Rescued", "wait"),
}
"""The figures of the page: title and tone."""


def refusals_in(counts: Counter[Key]) -> Counter[str]:
    """Return the number of refused offers by reason."""
    return _named(counts, REFUSED)


def waits_in(counts: Counter[Key]) -> Counter[int]:
    """Return the number of first leases by the longest that each may have waited, in seconds."""
    return Counter({int(name): number for name, number in _named(counts, WAITED).items()})


def _named(counts: Counter[Key], beginning: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for (_, _, what), number in counts.items():
        if what.startswith(beginning):
            found[what.removeprefix(beginning)] += number
    return found


def within(waits: Counter[int], part: float) -> int:
    """Return the seconds within which this part of the waits ended. There is one at least."""
    wanted, passed = part * waits.total(), 0
    for seconds in sorted(waits):
        passed += waits[seconds]
        if passed >= wanted:
            break
    return seconds
