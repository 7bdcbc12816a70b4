"""An attempt: one lease of one worker, and how it ended (R21)."""

from __future__ import annotations

from django.db import models

from instances.choices import AttemptOutcome
from instances.models.instance import HopperInstance
from instances.models.task import Task


class Attempt(models.Model):
    """One lease. JSON: `checkpoint` and `artifact` any value; `progress` is 0 to 1 or null.

    `artifact` keeps the first late result, `more_artifacts` the later ones. `error` says why this
    attempt failed, expired or was cancelled.
    """

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField()
    epoch = models.PositiveIntegerField()
    instance = models.ForeignKey(
        HopperInstance, null=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    worker = models.CharField(max_length=200)
    lease_token = models.CharField(max_length=64, default="", blank=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(  # noqa: DJ001
        max_length=12, choices=AttemptOutcome.choices, null=True, blank=True
    )
    error = models.TextField(default="", blank=True)
    checkpoint = models.JSONField(null=True, blank=True)
    progress = models.FloatField(null=True, blank=True)
    artifact = models.JSONField(null=True, blank=True)
    more_artifacts = models.JSONField(default=list, db_default=[], blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["task", "number"], name="attempt_number_once"),
            models.UniqueConstraint(
                fields=["task"],
                condition=models.Q(outcome__isnull=True),
                name="attempt_one_live_per_task",
            ),
            models.UniqueConstraint(
                fields=["task", "epoch"],
                condition=models.Q(outcome=AttemptOutcome.COMPLETED),
                name="attempt_one_success_per_epoch",
            ),
        )

    def __str__(self) -> str:
        return f"{self.task_id} attempt {self.number}"
