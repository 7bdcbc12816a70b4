"""Events: one immutable row of history for each change, in the feed of an instance."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from hopper.actors import ID_LENGTH
from hopper.database import engine
from instances.models.archive import ArchiveFile
from instances.models.instance import HopperInstance
from instances.models.task import Task


class EventQuerySet(models.QuerySet["Event"]):
    """Chainable reads of history."""

    def of_instance(self, instance_id: str) -> EventQuerySet:
        """The feed of one instance."""
        return self.filter(instance_id=instance_id)

    def archived_up_to(self) -> int:
        """Return the number up to which events may be missing from a feed, 0 for none."""
        return ArchiveFile.last_position()

    def in_feed(self) -> EventQuerySet:
        """Return the events that have a position, in its order, annotated as `number`."""
        if engine().ids_follow_commits:
            return self.annotate(number=F("id")).order_by("number")
        return self.filter(position__isnull=False).annotate(number=F("position")).order_by("number")


class Event(models.Model):
    """One change: its `kind`, its object, its instance, its actor, and the state afterwards.

    `status`, `holder_id` and `attempt` are the task's (or the instance's status) after the change,
    so that replaying the log gives the present (I20). `ending` marks the one event that each
    instance on the path gets for a task's end in an epoch (R17). `data` is a JSON object.

    `actor` is the name that the actor had, `actor_id` the id; "" in events of older releases.

    `position` is the event's place in the feeds. It is given after the commit, without a gap, and
    never changes (`instances.history.stamp`); where ids follow commits it stays empty.
    """

    id = models.BigAutoField(primary_key=True)
    position = models.BigIntegerField(null=True, blank=True, editable=False)
    kind = models.CharField(max_length=40)
    at = models.DateTimeField()
    actor = models.CharField(max_length=150, default="")
    actor_id = models.CharField(max_length=ID_LENGTH, default="", db_default="", blank=True)
    task = models.ForeignKey(
        Task,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="events",
        db_index=False,
        db_constraint=False,
    )
    instance = models.ForeignKey(
        HopperInstance,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="events",
        db_index=False,
        db_constraint=False,
    )
    delegation_id = models.CharField(max_length=64, default="", blank=True)
    epoch = models.PositiveIntegerField(null=True, blank=True)
    attempt = models.PositiveIntegerField(null=True, blank=True)
    before = models.CharField(max_length=16, default="", blank=True)
    status = models.CharField(max_length=16, default="", blank=True)
    holder_id = models.CharField(max_length=100, default="", blank=True)
    ending = models.BooleanField(default=False)
    data = models.JSONField(default=dict, blank=True)

    objects = EventQuerySet.as_manager()

    class Meta:
        indexes = (
            models.Index(fields=["task", "id"], name="event_of_task"),
            models.Index(fields=["instance", "id"], name="event_of_instance"),
            models.Index(
                fields=["instance", "position"],
                condition=Q(position__isnull=False),
                name="event_feed_of_instance",
            ),
            models.Index(
                fields=["id"], condition=Q(position__isnull=True), name="event_without_position"
            ),
        )
        constraints = (
            models.UniqueConstraint(
                fields=["position"], condition=Q(position__isnull=False), name="event_position"
            ),
            models.UniqueConstraint(
                fields=["task", "epoch", "instance"],
                condition=Q(ending=True, instance__isnull=False),
                name="event_one_end_per_feed",
            ),
            models.UniqueConstraint(
                fields=["task", "epoch"],
                condition=Q(ending=True, instance__isnull=True),
                name="event_one_end_unassigned",
            ),
        )

    def __str__(self) -> str:
        return f"{self.id} {self.kind}"
