"""The record of a hand-over: source, task, target and outcome."""

from __future__ import annotations

from django.db import models

from delegation.choices import OPEN, DelegationStatus, DelegationType
from instances.models import HopperInstance, Question, Task


class DelegationQuerySet(models.QuerySet["TaskDelegation"]):
    """Chainable reads of delegations."""

    def for_task(self, task_id: str) -> DelegationQuerySet:
        """All delegations of a task, in order of creation."""
        return self.filter(task_id=task_id).order_by("delegated_at", "hop", "id")

    def chain(self, task_id: str | models.OuterRef) -> DelegationQuerySet:
        """The active path: accepted, unfinished, downward, from the origin to the holder (R6)."""
        return (
            self.filter(
                task_id=task_id, status=DelegationStatus.ACCEPTED, source_instance__isnull=False
            )
            .exclude(delegation_type=DelegationType.ESCALATE)
            .order_by("hop", "id")
        )

    def open(self) -> DelegationQuerySet:
        """Pending and accepted delegations."""
        return self.filter(status__in=OPEN)


class TaskDelegation(models.Model):
    """One hand-over. `hop` counts from 1 along the active path; `result` is any JSON value.

    `explicit` marks an offer that a person answers, not a behaviour (R8).
    `source_instance` is null where an unassigned task was handed out (R25). `completed_at` is the
    time of the final state, whichever it is. `question` is the open one that an escalation carries,
    or the answered one with which a task goes back to the asker (R11).
    """

    id = models.CharField(primary_key=True, max_length=64)
    task = models.ForeignKey(
        Task, on_delete=models.CASCADE, related_name="delegations", db_index=False
    )
    source_instance = models.ForeignKey(
        HopperInstance,
        null=True,
        on_delete=models.PROTECT,
        related_name="outgoing_delegations",
        db_index=False,
    )
    target_instance = models.ForeignKey(
        HopperInstance,
        on_delete=models.PROTECT,
        related_name="incoming_delegations",
        db_index=False,
    )
    delegation_type = models.CharField(
        max_length=12, choices=DelegationType.choices, default=DelegationType.ROUTE
    )
    status = models.CharField(
        max_length=12, choices=DelegationStatus.choices, default=DelegationStatus.PENDING
    )
    hop = models.PositiveIntegerField()
    epoch = models.PositiveIntegerField()
    explicit = models.BooleanField(default=False)
    forced = models.BooleanField(default=False)
    delegated_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    result = models.JSONField(null=True, blank=True)
    reason = models.CharField(max_length=40, default="", blank=True)
    rejection_reason = models.TextField(default="", blank=True)
    notes = models.TextField(default="", blank=True)
    question = models.ForeignKey(
        Question,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="+",
        db_index=False,
    )
    delegated_by = models.CharField(max_length=150, default="")
    answered_by = models.CharField(max_length=150, default="", blank=True)

    objects = DelegationQuerySet.as_manager()

    class Meta:
        indexes = (
            models.Index(fields=["task", "delegated_at", "id"], name="delegation_of_task"),
            models.Index(fields=["target_instance", "status", "id"], name="delegation_incoming"),
            models.Index(fields=["source_instance", "status", "id"], name="delegation_outgoing"),
            models.Index(fields=["target_instance", "delegated_at"], name="delegation_latest"),
            models.Index(
                fields=["expires_at"],
                condition=models.Q(status=DelegationStatus.PENDING),
                name="delegation_expiring",
            ),
        )
        constraints = (
            models.UniqueConstraint(
                fields=["task"],
                condition=models.Q(status=DelegationStatus.PENDING),
                name="delegation_one_pending_per_task",
            ),
        )

    def __str__(self) -> str:
        return f"{self.id} {self.source_instance_id or '-'} to {self.target_instance_id}"

    @property
    def is_pending(self) -> bool:
        """Whether the offer has no answer yet."""
        return self.status == DelegationStatus.PENDING

    @property
    def goes_up(self) -> bool:
        """Whether the delegation is an escalation (R11)."""
        return self.delegation_type == DelegationType.ESCALATE
