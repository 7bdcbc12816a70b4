"""`/metrics`: the figures of the whole tree for Prometheus (extra `metrics`).

The labels are scopes, statuses, reasons and kinds: their number does not grow with instances.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Min, Sum
from django.db.models.functions import TruncHour
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from delegation.models import TaskDelegation
from delegation.pages.flow import refusals_in, waits_in, within
from hopper import database
from hopper.errors import HopperError
from instances.api.base import Answering
from instances.api.permissions import require_role
from instances.attention import Attention
from instances.choices import TaskStatus
from instances.history import newest_position
from instances.minutes import (
    ACCEPTED,
    CANCELLED,
    CLAIMED,
    CREATED,
    DONE,
    FAILED,
    RESCUED,
    counts_since,
)
from instances.models import CheckRecord, HopperInstance, SweepRecord, Task, Webhook

RECENT = timedelta(hours=1)
"""The time over which rates are told."""

OFFERS_READ = 5_000
"""The most offers whose waits are measured: the newest ones."""

WEBHOOKS_READ = 50
"""The most webhooks whose lag is read: those that are furthest behind."""


class NoMetrics(HopperError):
    """This server has no metrics: install hopper-queue[metrics]."""

    status = 501
    code = "no_metrics"


class Metrics(Answering):
    """The figures of the whole tree."""

    queryset = HopperInstance.objects.none()
    pagination_class = None
    filter_backends = ()

    @extend_schema(exclude=True)
    def retrieve(self, request: Request) -> HttpResponse:
        """Show the figures to a caller that sees everything."""
        require_role(self.actor, "viewer", [])
        try:
            from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
        except ImportError:
            raise NoMetrics from None
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Figures())
        return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class Figures:
    """A collector that reads the database when it is asked; about 30 queries."""

    def collect(self) -> Iterator[Any]:
        """Yield the figures as Prometheus has them."""
        now = database.now()
        yield _gauge("hopper_instances", "Live instances.", "scope", _instances())
        attention = Attention(Task.objects.all(), HopperInstance.objects.all())
        words = "Unfinished tasks by reason (R26)."
        yield _gauge("hopper_tasks_waiting", words, "reason", attention.reasons)
        counts = attention.counts()
        counts.pop("total")
        yield _gauge("hopper_attention", "Tasks that wait for a person.", "kind", counts)
        yield _gauge("hopper_tasks_depth", "Pending tasks.", "scope", _depth())
        oldest = {scope: (now - at).total_seconds() for scope, at in _oldest().items()}
        words = "Age of the oldest pending task."
        yield _gauge("hopper_oldest_waiting_seconds", words, "scope", oldest)
        yield _gauge("hopper_in_flight", "Live leases.", "scope", _in_flight())
        yield from _recent(now - RECENT)
        yield from _webhooks(now)
        yield from _records(now)


def _gauge(name: str, words: str, label: str, values: Mapping[str, float]) -> Any:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, words, labels=[label] if label else [])
    for value, number in sorted(values.items()):
        family.add_metric([value] if label else [], number)
    return family


def _instances() -> dict[str, int]:
    rows = HopperInstance.objects.live().order_by().values_list("scope")
    return dict(rows.annotate(Count("pk")))


def _depth() -> dict[str, int]:
    rows = Task.objects.filter(status=TaskStatus.PENDING, instance__isnull=False).order_by()
    return dict(rows.values_list("instance__scope").annotate(Count("pk")))


def _oldest() -> dict[str, Any]:
    rows = Task.objects.filter(status=TaskStatus.PENDING, instance__isnull=False).order_by()
    return dict(rows.values_list("instance__scope").annotate(Min("created_at")))


def _in_flight() -> dict[str, int]:
    rows = HopperInstance.objects.live().order_by().values_list("scope")
    return {scope: number or 0 for scope, number in rows.annotate(Sum("load__running"))}


def _recent(since: datetime) -> Iterator[Any]:
    """Yield the figures of the time since then, from the counts by the minute."""
    counts = counts_since(since, bar=TruncHour)
    things: Counter[str] = Counter()
    for (_, _, what), number in counts.items():
        things[what] += number
    names = (CREATED, ACCEPTED, CLAIMED, DONE, FAILED, CANCELLED)
    done = {name: things[name] for name in names}
    yield _gauge("hopper_tasks_last_hour", "What happened to tasks.", "what", done)
    yield _gauge("hopper_rejections_last_hour", "Refused offers.", "reason", refusals_in(counts))
    yield _gauge("hopper_rescues_last_hour", "Leases that ran out.", "", {"": things[RESCUED]})
    words = "Seconds within which tasks got their first lease after creation, of the last hour."
    waits = waits_in(counts)
    claims = {str(part): within(waits, part) for part in (0.5, 0.9, 1)} if waits else {}
    yield _gauge("hopper_claim_wait_seconds", words, "quantile", claims)
    words = "Seconds from an offer to its acceptance, of the last hour."
    yield _gauge("hopper_accept_wait_seconds", words, "quantile", _parts(_accept_waits(since)))


def _accept_waits(since: datetime) -> list[float]:
    """Return the seconds that offers accepted since then waited, sorted; of the newest offers."""
    newest = TaskDelegation.objects.order_by("-pk")
    read = newest.values_list("delegated_at", "accepted_at")[:OFFERS_READ]
    accepted = [(made, at) for made, at in read if at is not None and at > since]
    return sorted(max(0.0, (at - made).total_seconds()) for made, at in accepted)


def _parts(waits: Sequence[float]) -> dict[str, float]:
    """Return the median, the 90th percentile and the longest of sorted waits."""
    half, most = (waits[int(part * len(waits))] if waits else 0.0 for part in (0.5, 0.9))
    return {"0.5": half, "0.9": most, "1": waits[-1]} if waits else {}


def _webhooks(now: datetime) -> Iterator[Any]:
    """Yield how many webhooks are in which state, and how far the slowest lags behind the feed."""
    on = Webhook.objects.filter(enabled=True)
    states = {
        "on": on.filter(failing_since=None).count(),
        "failing": on.exclude(failing_since=None).count(),
        "switched_off": Webhook.objects.switched_off().count(),
    }
    yield _gauge("hopper_webhooks", "Webhooks.", "state", states)
    newest = newest_position()
    behind = on.filter(position__lt=newest).order_by("position")[:WEBHOOKS_READ]
    due = [first.at for hook in behind if (first := hook.events(newest).first())]
    lag = (now - min(due)).total_seconds() if due else 0
    words = "Age of the oldest event that a webhook has not delivered."
    yield _gauge("hopper_webhook_lag_seconds", words, "", {"": lag})


def _records(now: datetime) -> Iterator[Any]:
    """Yield the ages of the last sweep and the last check, and what the check found broken."""
    swept, checked = SweepRecord.objects.first(), CheckRecord.latest()
    ages = {"": (now - swept.at).total_seconds()} if swept else {}
    yield _gauge("hopper_sweep_age_seconds", "Time since the last sweep.", "", ages)
    if checked is not None:
        ages = {"": (now - checked.began_at).total_seconds()}
        yield _gauge("hopper_check_age_seconds", "Time since the last check.", "", ages)
        broken = {"": float(len(checked.broken))}
        yield _gauge("hopper_check_broken", "Invariants that it found broken.", "", broken)
