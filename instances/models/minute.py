"""The counts of one minute at one instance."""

from __future__ import annotations

from django.db import models


class MinuteCount(models.Model):
    """How often a thing happened at an instance in a minute; `what` names the thing.

    `instance_id` is "" where no instance held the task. `instances/minutes.py` writes the rows.
    """

    minute = models.DateTimeField()
    instance_id = models.CharField(max_length=100, default="")
    what = models.CharField(max_length=60)
    number = models.BigIntegerField(default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["minute", "instance_id", "what"], name="minute_count_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.minute:%Y-%m-%d %H:%M} {self.instance_id}: {self.number} {self.what}"
