"""Stored answers to requests that carried an Idempotency-Key (R20)."""

from __future__ import annotations

from django.db import models


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
