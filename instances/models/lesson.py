"""A lesson: what a task taught, for those who come after."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from instances.choices import Confidence
from instances.models.task import Task


class LessonQuerySet(models.QuerySet["Lesson"]):
    """Chainable reads of lessons."""

    def of_project(self, project: str) -> LessonQuerySet:
        """Those that name the project, or whose task names it or bears it as a tag."""
        return self.filter(
            Q(project__iexact=project)
            | Q(task__project__iexact=project)
            | Q(task__tags__has_any_word=[project])
        )


class Lesson(models.Model):
    """What somebody learned, never changed. `project` is the one it names, or its task's.

    Whoever sees the task or an instance of the project's id or name sees it, and its author.
    """

    id = models.CharField(primary_key=True, max_length=64)
    task = models.ForeignKey(
        Task, null=True, blank=True, on_delete=models.CASCADE, related_name="lessons"
    )
    title = models.CharField(max_length=500)
    domain = models.CharField(max_length=200, default="", blank=True, db_index=True)
    confidence = models.CharField(
        max_length=8, choices=Confidence.choices, default=Confidence.MEDIUM
    )
    description = models.TextField(default="", blank=True)
    project = models.CharField(max_length=200, default="", blank=True, db_index=True)
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField()

    objects = LessonQuerySet.as_manager()

    def __str__(self) -> str:
        return self.title
