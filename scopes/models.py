"""Recorded decisions and the feedback on them."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from instances.models import HopperInstance, Task


class Verdict(models.TextChoices):
    """The four kinds of decision."""

    SEND = "send", "send"
    STAY = "stay", "stay"
    CREATE = "create", "create"
    REFUSE = "refuse", "refuse"


class DecisionQuerySet(models.QuerySet["RoutingDecision"]):
    """Chainable reads of decisions."""

    def for_task(self, task_id: str) -> DecisionQuerySet:
        """Every decision about a task, in the order they were made."""
        rows = self.filter(task_id=task_id).order_by("epoch", "created_at", "id")
        return rows.defer("situation")


class RoutingDecision(models.Model):
    """One decision of one hop, never changed. `instance` decided; `target` got the offer, if any.

    `candidates` holds every candidate with its filters, the parts of its score and its load at that
    moment; `rules` the ids that matched, best first, `rule` the one that decided; `code` the
    waiting code of a stay or refusal. `situation` holds the values of the decision. The winner
    follows from `candidates` alone, the whole decision from `situation` and a configuration.
    """

    id = models.CharField(primary_key=True, max_length=64)
    task = models.ForeignKey(
        Task, on_delete=models.CASCADE, related_name="decisions", db_index=False
    )
    instance = models.ForeignKey(
        HopperInstance, on_delete=models.PROTECT, related_name="decisions_made", db_index=False
    )
    target = models.ForeignKey(
        HopperInstance,
        null=True,
        on_delete=models.PROTECT,
        related_name="decisions_for",
        db_index=False,
    )
    epoch = models.PositiveIntegerField()
    hop = models.PositiveIntegerField()
    verdict = models.CharField(max_length=16, choices=Verdict.choices)
    code = models.CharField(max_length=40, default="", blank=True)
    reasons = models.JSONField(default=list)
    candidates = models.JSONField(default=list)
    rules = models.JSONField(default=list)
    rule = models.CharField(max_length=200, default="", blank=True)
    situation = models.JSONField(default=dict, editable=False)
    confidence = models.FloatField(default=1.0)
    config_digest = models.CharField(max_length=64)
    elapsed_ms = models.FloatField()
    behavior = models.CharField(max_length=200)
    actor = models.CharField(max_length=150)
    created_at = models.DateTimeField()

    objects = DecisionQuerySet.as_manager()

    class Meta:
        indexes = (
            models.Index(fields=["task", "epoch", "created_at", "id"], name="decision_of_task"),
            models.Index(fields=["instance", "created_at"], name="decision_of_instance"),
        )

    def __str__(self) -> str:
        return f"{self.instance_id}: {self.verdict} {self.target_id or self.code}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Write a new decision. Raises ValidationError for one that is written already."""
        if not self._state.adding:
            raise ValidationError("a decision is never changed")
        super().save(*args, **kwargs)

    @property
    def alternatives(self) -> list[str]:
        """The other candidates that fitted and matched, best score first."""
        others = [
            one
            for one in self.candidates
            if one["fits"] and one["speaks"] and one["instance_id"] != self.target_id
        ]
        return [one["instance_id"] for one in sorted(others, key=lambda one: -one["score"])]


class Feedback(models.Model):
    """Feedback on a finished task and on the decision that placed the task: the fields of Phase 1.

    `should_have_routed_to` names the right instance; the durations are words such as "2h".
    """

    id = models.BigAutoField(primary_key=True)
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="feedback")
    decision = models.ForeignKey(
        RoutingDecision, null=True, blank=True, on_delete=models.SET_NULL, related_name="feedback"
    )
    was_good_match = models.BooleanField(null=True, blank=True)
    should_have_routed_to = models.CharField(max_length=200, default="", blank=True)
    routing_feedback = models.TextField(default="", blank=True)
    quality_score = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(0), MaxValueValidator(5)]
    )
    complexity_rating = models.PositiveSmallIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(5)]
    )
    estimated_duration = models.CharField(max_length=100, default="", blank=True)
    actual_duration = models.CharField(max_length=100, default="", blank=True)
    required_rework = models.BooleanField(null=True, blank=True)
    rework_reason = models.TextField(default="", blank=True)
    unexpected_blockers = models.JSONField(default=list, blank=True)
    required_skills_not_tagged = models.JSONField(default=list, blank=True)
    notes = models.TextField(default="", blank=True)
    created_by = models.CharField(max_length=150, default="")
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"feedback on {self.task_id}"
