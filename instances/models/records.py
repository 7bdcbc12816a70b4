"""The results of the latest checks of the invariants, for whoever watches."""

from __future__ import annotations

from typing import Any

from django.db import models


class CheckRecord(models.Model):
    """One check of all invariants: when it began, and which were broken (numbers such as "I3").

    `since` null: everything was looked at; else what had changed since then, which is the start
    of a check that found all sound, or earlier.
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
    """The answer a caller got for a key: same key and body replays it, for 24 hours.

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
