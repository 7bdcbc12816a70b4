"""Stored results: checks of the invariants, and answers to idempotency keys."""

from __future__ import annotations

from typing import Any

from django.db import models


class CheckRecord(models.Model):
    """One check of all invariants: its start, and the broken ones (names such as "I3").

    `since` null: the check read all rows. Otherwise the check read the rows changed since then.
    `since` is never later than the start of the latest check that found no fault.
    """

    began_at = models.DateTimeField()
    seconds = models.FloatField()
    since = models.DateTimeField(null=True, blank=True)
    broken = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"{self.began_at:%Y-%m-%d %H:%M}: {', '.join(self.broken) or 'sound'}"

    @classmethod
    def latest(cls, **where: Any) -> CheckRecord | None:
        """Return the newest record that fits, or None."""
        return cls._default_manager.filter(**where).order_by("-id").first()


class IdempotencyRecord(models.Model):
    """The answer to an idempotency key. For 24 hours the same key and body replay the answer.

    `digest` covers method, path and body. `body` is the JSON answered, null while it is being made.
    """

    caller = models.CharField(max_length=150)
    key = models.CharField(max_length=255)
    digest = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(null=True)
    body = models.JSONField(null=True)
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["caller", "key"], name="idempotency_key_once"),
        )

    def __str__(self) -> str:
        return f"{self.caller} {self.key}"
