"""Lessons of tasks, for later tasks."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from hopper.actors import ID_LENGTH
from hopper.words import keys_of
from instances.choices import Confidence
from instances.models.instance import HopperInstance, lineages
from instances.models.task import Task


class LessonQuerySet(models.QuerySet["Lesson"]):
    """Chainable reads of lessons."""

    def labelled(self, *words: str) -> LessonQuerySet:
        """Lessons with a label: the project of the lesson or its task, or a tag of the task."""
        keys = keys_of(words)
        return self.filter(
            Q(project_key__in=keys)
            | Q(task__project_key__in=keys)
            | Q(task__tag_keys__has_any_word=keys)
        )

    def applying_to(self, task: Task) -> LessonQuerySet:
        """Lessons of the task's holder and of the instances above it.

        A task without an instance has the lessons that its creator filed without one, under a
        label of the task.
        """
        if task.instance_id is not None:
            line = lineages([task.instance_id])[task.instance_id]
            return self.filter(instance__in=[one.id for one in line])
        own = self.filter(instance__isnull=True, created_by_id=task.created_by_id)
        words = [word for word in (task.project, *task.tags) if word]
        if not (words and task.created_by_id):
            return own.filter(task=task)
        return own.filter(Q(task=task) | Q(pk__in=own.labelled(*words).values("pk")))


class Lesson(models.Model):
    """A lesson, never changed. `instance` is where it belongs; null for a task without one.

    Callers who see the instance see the lesson, and so does its author. `project` is a label, given
    with the lesson or taken from its task. The label decides nothing about rights.
    """

    id = models.CharField(primary_key=True, max_length=64)
    task = models.ForeignKey(
        Task, null=True, blank=True, on_delete=models.CASCADE, related_name="lessons"
    )
    instance = models.ForeignKey(
        HopperInstance, null=True, blank=True, on_delete=models.PROTECT, related_name="lessons"
    )
    title = models.CharField(max_length=500)
    domain = models.CharField(max_length=200, default="", blank=True)
    confidence = models.CharField(
        max_length=8, choices=Confidence.choices, default=Confidence.MEDIUM
    )
    description = models.TextField(default="", blank=True)
    project = models.CharField(max_length=200, default="", blank=True)
    domain_key = models.CharField(max_length=600, default="", db_index=True, editable=False)
    project_key = models.CharField(max_length=600, default="", db_index=True, editable=False)
    created_by = models.CharField(max_length=150)
    created_by_id = models.CharField(max_length=ID_LENGTH, default="", db_default="", blank=True)
    created_at = models.DateTimeField()

    objects = LessonQuerySet.as_manager()

    def __str__(self) -> str:
        return self.title
