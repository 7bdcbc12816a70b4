"""A dependency: one task waits for another to be done (R23)."""

from __future__ import annotations

from django.db import models

from instances.models.task import Task


class TaskDependency(models.Model):
    """`task` may be claimed only when `depends_on` is done."""

    task = models.ForeignKey(
        Task, on_delete=models.CASCADE, related_name="dependencies", db_index=False
    )
    depends_on = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="dependants")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["task", "depends_on"], name="dependency_once"),
            models.CheckConstraint(
                condition=~models.Q(task=models.F("depends_on")), name="dependency_not_on_itself"
            ),
        )

    def __str__(self) -> str:
        return f"{self.task_id} after {self.depends_on_id}"
