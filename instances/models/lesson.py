"""Lessons of tasks, for later tasks."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from hopper.actors import ID_LENGTH
from instances.choices import Confidence
from instances.models.task import Task


class LessonQuerySet(models.QuerySet["Lesson"]):
    """Chainable reads of lessons."""

    def of_project(self, project: str) -> LessonQuerySet:
        """Lessons of a project: named by the lesson or its task, or a tag of the task."""
        return self.filter(
            Q(project__iexact=project)
            | Q(task__project__iexact=project)
            | Q(task__tags__has_any_word=[project])
        )


class Lesson(models.Model):
    """A lesson, never changed. `project` is given with the lesson, or is the project of its task.

    A lesson is visible to its author, and to callers who see its task or an instance with the
    project's id or name.
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
    created_by_id = models.CharField(max_length=ID_LENGTH, default="", db_default="", blank=True)
    created_at = models.DateTimeField()

    objects = LessonQuerySet.as_manager()

    def __str__(self) -> str:
        return self.title
