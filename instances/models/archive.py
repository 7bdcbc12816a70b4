"""The archive: its files, and the tasks that went there."""

from __future__ import annotations

from django.db import models

from hopper.actors import ID_LENGTH
from instances.models.instance import HopperInstance


class ArchiveFile(models.Model):
    """One file of the archive, with the number of its tasks and events.

    `through` is the greatest position in the feed of an event in the file.
    """

    name = models.CharField(max_length=100, unique=True)
    at = models.DateTimeField()
    tasks = models.PositiveIntegerField()
    events = models.PositiveIntegerField()
    through = models.BigIntegerField(db_index=True)

    def __str__(self) -> str:
        return self.name

    @classmethod
    def last_position(cls) -> int:
        """Return the position in the feed up to which events may be missing, 0 for none."""
        return cls._default_manager.aggregate(last=models.Max("through"))["last"] or 0


class ArchivedTask(models.Model):
    """A task that is in a file of the archive and no longer in the table of tasks.

    The row answers requests for the task: where it is, how it ended, and who may know.
    """

    id = models.CharField(primary_key=True, max_length=64)
    file = models.ForeignKey(
        ArchiveFile, on_delete=models.PROTECT, related_name="archived", db_index=False
    )
    status = models.CharField(max_length=16)
    instance = models.ForeignKey(
        HopperInstance, null=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    origin = models.ForeignKey(
        HopperInstance, null=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    created_by_id = models.CharField(max_length=ID_LENGTH, default="")

    def __str__(self) -> str:
        return f"{self.id} in {self.file_id}"
