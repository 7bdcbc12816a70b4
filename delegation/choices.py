"""The words for delegations: types, states, reasons."""

from __future__ import annotations

from django.db import models

from hopper.protocol import DELEGATION


class DelegationType(models.TextChoices):
    """The kind of a hand-over: down (route, decompose, reassign) or up (escalate)."""

    ROUTE = "route", "route"
    DECOMPOSE = "decompose", "decompose"
    ESCALATE = "escalate", "escalate"
    REASSIGN = "reassign", "reassign"


class DelegationStatus(models.TextChoices):
    """The life of a delegation (R7)."""

    PENDING = "pending", "pending"
    ACCEPTED = "accepted", "accepted"
    REJECTED = "rejected", "rejected"
    COMPLETED = "completed", "completed"
    EXPIRED = "expired", "expired"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"


OPEN = (DelegationStatus.PENDING, DelegationStatus.ACCEPTED)


class Reason(models.TextChoices):
    """The reason of a delegation's end (R7)."""

    TASK_DONE = "task_done", "the task is done"
    TASK_FAILED = "task_failed", "the task failed"
    TASK_CANCELLED = "task_cancelled", "the task was cancelled"
    REJECTED = "rejected", "the target refused"
    EXPIRED = "expired", "nobody answered in time"
    WITHDRAWN = "withdrawn", "the source took it back"
    REROUTED = "rerouted", "the task is routed anew"
    TARGET_STOPPED = "target_stopped", "the target stopped"
    TARGET_ERROR = "target_error", "the target is in error"
    TARGET_TERMINATED = "target_terminated", "the target was terminated"
    SOURCE_STOPPED = "source_stopped", "the source stopped"
    SOURCE_TERMINATED = "source_terminated", "the source was terminated"
    EVACUATED = "evacuated", "the task was evacuated"
    ESCALATED = "escalated", "the task was escalated"
    ANSWERED = "answered", "the question was answered"
    REASSIGNED = "reassigned", "the task was reassigned"
    REOPENED = "reopened", "the task was reopened"
    QUEUE_FULL = "queue_full", "the target's queue is full"
    NO_REMOTE = "no_remote", "no remote is configured"


__all__ = ["DELEGATION"]
