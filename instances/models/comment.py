"""A comment: what a person or an agent said about a task, beside its description."""

from __future__ import annotations

from django.db import models

from hopper.actors import ID_LENGTH
from instances.models.task import Task


class Comment(models.Model):
    """One comment, never changed."""

    id = models.CharField(primary_key=True, max_length=64)
    task = models.ForeignKey(
        Task, on_delete=models.CASCADE, related_name="comments", db_index=False
    )
    text = models.TextField()
    created_by = models.CharField(max_length=150)
    created_by_id = models.CharField(max_length=ID_LENGTH)
    created_at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=["task", "id"], name="comment_of_task"),)

    def __str__(self) -> str:
        return f"{self.id} about {self.task_id}"
