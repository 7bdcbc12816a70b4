"""Webhooks: subscriptions to the events of a subtree, and the log of their deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import Exists, OuterRef, Q

from hopper.actors import ID_LENGTH
from instances.models.event import Event, EventQuerySet
from instances.models.instance import HopperInstance

WINDOW = 5000
"""The most positions of the feed that one read of a webhook's events looks at."""


class WebhookQuerySet(models.QuerySet["Webhook"]):
    """Chainable reads of webhooks."""

    def switched_off(self) -> WebhookQuerySet:
        """Return the webhooks that Hopper has switched off; a person has to decide about them."""
        return self.filter(enabled=False).exclude(off_reason="")

    def due(self, now: datetime, newest: int) -> WebhookQuerySet:
        """Return the webhooks with something to send that no sender has taken.

        `newest` is the position of the newest event.
        """
        free = Q(taken_until__isnull=True) | Q(taken_until__lt=now)
        rested = Q(next_at__isnull=True) | Q(next_at__lte=now)
        behind = Q(enabled=True, position__lt=newest) & rested
        return self.filter(free & (Q(test_due=True) | behind))


class Webhook(models.Model):
    """A subscription: events of these kinds, at an instance and below, are sent to a URL.

    `kinds` holds kinds of events (`task.done`) and groups (`task.*`); empty means all. `position`
    is the position of the last event that is done with. `owner_id` is the actor that added the
    webhook or last changed it; at each delivery this actor must still be an admin of the instance.

    The secret derives from the key of the site and `secret_number`; no table holds the secret.
    A row with `off_reason` was switched off by Hopper, a disabled row without one by a person.
    """

    id = models.CharField(primary_key=True, max_length=64)
    instance = models.ForeignKey(HopperInstance, on_delete=models.PROTECT, related_name="webhooks")
    url = models.CharField(max_length=2000)
    kinds = models.JSONField(default=list, blank=True)
    description = models.CharField(max_length=200, default="", blank=True)
    owner = models.CharField(max_length=150)
    owner_id = models.CharField(max_length=ID_LENGTH)
    created_at = models.DateTimeField()
    secret_number = models.PositiveIntegerField(default=1)
    rotated_at = models.DateTimeField(null=True, blank=True)
    enabled = models.BooleanField(default=True)
    off_reason = models.CharField(max_length=200, default="", blank=True)
    position = models.BigIntegerField()
    failures = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True, blank=True)
    next_at = models.DateTimeField(null=True, blank=True)
    taken_until = models.DateTimeField(null=True, blank=True, editable=False)
    test_due = models.BooleanField(default=False, editable=False)

    objects = WebhookQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.id} at {self.instance_id}"

    def reach(self, newest: int) -> int:
        """Return the last position that the next read of events looks at."""
        return min(newest, self.position + WINDOW)

    def events(self, newest: int) -> EventQuerySet:
        """Return the next events to be sent, up to `reach`, in the order of the feed.

        The end of a task stands in the feeds of many instances. It is sent once, as it stands in
        the first of these feeds within the subtree.
        """
        places = HopperInstance.objects.under(self.instance_id).values("pk")
        rows: Any = Event.objects.in_feed()
        rows = rows.filter(number__gt=self.position, number__lte=self.reach(newest))
        earlier = Event.objects.filter(
            ending=True, task=OuterRef("task"), epoch=OuterRef("epoch"), pk__lt=OuterRef("pk")
        )
        rows = rows.filter(instance__in=places)
        rows = rows.exclude(Q(ending=True) & Exists(earlier.filter(instance__in=places)))
        if self.kinds:
            groups = [one.removesuffix("*") for one in self.kinds if one.endswith("*")]
            wanted = Q(kind__in=[one for one in self.kinds if not one.endswith("*")])
            for group in groups:
                wanted |= Q(kind__startswith=group)
            rows = rows.filter(wanted)
        found: EventQuerySet = rows
        return found


class Delivery(models.Model):
    """One request to the receiver of a webhook: the event, the answer and the time it took.

    `position` is the event's, null for a test. `reason` says why the delivery failed; "" means that
    the receiver took the message. The log keeps the newest ones.
    """

    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    position = models.BigIntegerField(null=True, blank=True)
    message_id = models.CharField(max_length=80)
    kind = models.CharField(max_length=40)
    at = models.DateTimeField()
    seconds = models.FloatField()
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    reason = models.CharField(max_length=200, default="", blank=True)

    class Meta:
        verbose_name_plural = "deliveries"

    def __str__(self) -> str:
        return f"{self.message_id}: {self.reason or self.status}"
