"""The page of the flow: how much was done, refused and rescued, and how long tasks waited."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Count, F, Max, Q
from django.db.models.functions import TruncHour, TruncMinute

from delegation.pages.visit import page
from hopper import database
from instances.api.permissions import visible_events, visible_instances
from instances.choices import TaskStatus
from instances.models import Attempt, Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.http import HttpResponse

    from delegation.pages.visit import Visit
    from instances.models.instance import InstanceQuerySet

EVENTS_READ = 200_000
"""The most events that the page reads: the newest ones."""

CLAIMS_READ = 5_000
"""The most first leases whose waits are measured: the newest ones."""

MOST_REASONS = 8


@dataclass(frozen=True)
class Window:
    """A length of time, and the length of the bar that stands for a part of it."""

    word: str
    length: timedelta
    bar: timedelta
    trunc: Any


WINDOWS = {
    one.word: one
    for one in (
        Window("1h", timedelta(hours=1), timedelta(minutes=1), TruncMinute),
        Window("24h", timedelta(hours=24), timedelta(minutes=30), TruncMinute),
        Window("7d", timedelta(days=7), timedelta(hours=4), TruncHour),
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
    waits: list[tuple[str, float]] = field(default_factory=list)
    claims: int = 0
    cut: bool = False


@page
def flow(visit: Visit) -> HttpResponse:
    """Show the flow over `window`: 1h, 24h or 7d."""
    window = WINDOWS.get(visit.request.GET.get("window", "1h"), WINDOWS["1h"])
    context = {"flow": flow_of(visit, window), "windows": list(WINDOWS), "window": window.word}
    return visit.show("pages/flow.html", context)


def flow_of(visit: Visit, window: Window) -> Flow:
    """Return the figures of a window for visible instances; five queries, each bounded."""
    now = database.now()
    since = now - window.length
    newest = Event.objects.aggregate(Max("pk"))["pk__max"] or 0
    oldest = Event.objects.filter(pk__gt=newest - EVENTS_READ).order_by("pk").first()
    cut = newest > EVENTS_READ and oldest is not None and oldest.at > since
    events = visible_events(visit.actor).filter(pk__gt=newest - EVENTS_READ, at__gt=since)
    found = Flow(window, since, cut=cut)
    # The end of a task stands in every feed above. It counts where the task was.
    ends = Q(ending=True) & (Q(instance=F("holder_id")) | Q(instance__isnull=True))
    found.lines = {
        "done": _line("Done", events.filter(ends, status=TaskStatus.DONE), found, now, "good"),
        "failed": _line("Failed", events.filter(ends, status=TaskStatus.FAILED), found, now, "bad"),
        "refused": _line("Refused", events.filter(kind="delegation.rejected"), found, now, "wait"),
        "rescued": _line("Rescued", events.filter(kind="task.lease_lost"), found, now, "wait"),
    }
    refused = events.filter(kind="delegation.rejected").values_list("data", flat=True)
    reasons = Counter(str(data.get("reason") or "other") for data in refused[:EVENTS_READ])
    found.refusals = reasons.most_common(MOST_REASONS)
    waits = first_waits(visible_instances(visit.actor), since)
    found.claims = len(waits)
    if waits:
        found.waits = [
            ("half of them within", share(waits, 0.5)),
            ("9 of 10 within", share(waits, 0.9)),
            ("the longest", waits[-1]),
        ]
    return found


def _line(title: str, events: Any, flow: Flow, now: datetime, tone: str) -> Line:
    """Return the number of events in each bar of the window; one query."""
    window = flow.window
    bars = [0] * (window.length // window.bar)
    counted = events.order_by().values_list(window.trunc("at")).annotate(Count("pk"))
    for moment, number in counted:
        ago = int((now - moment) / window.bar)
        bars[-1 - min(ago, len(bars) - 1)] += number
    return Line(title, bars, tone)


def first_waits(instances: InstanceQuerySet, since: datetime) -> list[float]:
    """Return the seconds from creation to the first lease of tasks claimed since then, sorted."""
    rows = Attempt.objects.filter(
        number=1, started_at__gt=since, instance__in=instances.values("pk")
    )
    read = rows.order_by("-pk").values_list("started_at", "task__created_at")[:CLAIMS_READ]
    return sorted(max(0.0, (began - made).total_seconds()) for began, made in read)


def share(ordered: Sequence[float], part: float) -> float:
    """Return the value below which this part of the sorted values lies."""
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
