"""A question about a task: who asked it, and what the answer was (R11)."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import models

from instances.choices import QuestionState as Q
from instances.models.instance import HopperInstance
from instances.models.task import Task

MAX_QUESTIONS = 8
"""The most questions about one task."""

WITH_ANSWER = (Q.ANSWERED, Q.EXPIRED)
"""The states of questions that have an answer; that of an expired one is its default."""


class QuestionQuerySet(models.QuerySet["Question"]):
    """Chainable reads of questions."""

    def open_of(self, task: Task) -> Question | None:
        """Return the open question of a task; no query for a task that was never asked about."""
        return self.filter(task=task, state=Q.OPEN).first() if task.asked else None

    def of_tasks(self, tasks: Iterable[Task]) -> dict[str, list[Question]]:
        """Return the questions of a page of tasks, oldest first, by the id of the task."""
        found: dict[str, list[Question]] = {task.pk: [] for task in tasks if task.asked}
        for row in self.filter(task__in=found).order_by("number") if found else ():
            found[row.task_id].append(row)
        return found


class Question(models.Model):
    """One question. `number` counts the questions of a task from 1.

    `instance` held the task when it was asked. `attempt` is the number of the lease that asked,
    null where no worker did. `rests` says that the task was leased or rested there, so that it is
    claimable there after the answer. JSON: `choices`, a list of texts, [] for a free answer.
    """

    id = models.CharField(primary_key=True, max_length=64)
    task = models.ForeignKey(
        Task, on_delete=models.CASCADE, related_name="questions", db_index=False
    )
    number = models.PositiveIntegerField()
    epoch = models.PositiveIntegerField()
    attempt = models.PositiveIntegerField(null=True, blank=True)
    asked_by = models.CharField(max_length=200)
    instance = models.ForeignKey(
        HopperInstance, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    text = models.TextField()
    choices = models.JSONField(default=list, blank=True)
    default = models.TextField(null=True, blank=True)  # noqa: DJ001
    until = models.DateTimeField(null=True, blank=True)
    rests = models.BooleanField(default=False)
    state = models.CharField(max_length=9, choices=Q.choices, default=Q.OPEN)
    answer = models.TextField(null=True, blank=True)  # noqa: DJ001
    answered_by = models.CharField(max_length=150, default="", blank=True)
    asked_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True, blank=True)
    raised_at = models.DateTimeField(null=True, blank=True)

    objects = QuestionQuerySet.as_manager()

    class Meta:
        indexes = (
            models.Index(
                fields=["until"],
                condition=models.Q(state=Q.OPEN, until__isnull=False),
                name="question_due",
            ),
        )
        constraints = (
            models.UniqueConstraint(fields=["task", "number"], name="question_number_once"),
            models.UniqueConstraint(
                fields=["task"],
                condition=models.Q(state=Q.OPEN),
                name="question_one_open_per_task",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=WITH_ANSWER, answer__isnull=False)
                | (~models.Q(state__in=WITH_ANSWER) & models.Q(answer__isnull=True)),
                name="question_has_one_answer",
            ),
        )

    def __str__(self) -> str:
        return f"{self.id} about {self.task_id}"

    @property
    def is_open(self) -> bool:
        """Whether the question waits for an answer."""
        return self.state == Q.OPEN
