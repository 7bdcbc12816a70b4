"""Stored results: checks, sweeps, answers to idempotency keys, and counts of requests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db import connection, models

from hopper.site_key import lease_token, webhook_secret


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


class SiteKey(models.Model):
    """The fingerprint of the key that the servers of this database share. At most one row."""

    fingerprint = models.CharField(max_length=16)

    def __str__(self) -> str:
        return self.fingerprint


class SweepRecord(models.Model):
    """The time of the last sweep of all due work; one row.

    `counted` is the position in the feed up to which events are counted (`instances/minutes.py`).
    `archived_after` is the id of the last task that the archive has looked at, "" where it begins
    anew; `archived_at` is when it last came to the end.
    """

    at = models.DateTimeField()
    counted = models.BigIntegerField(default=0, db_default=0)
    archived_after = models.CharField(max_length=64, default="", db_default="")
    archived_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S}"

    @classmethod
    def note(cls, at: datetime) -> None:
        """Store the time of a sweep."""
        cls._write(cls(pk=1, at=at), "at")

    @classmethod
    def note_counted(cls, position: int, at: datetime) -> None:
        """Store the position up to which events are counted."""
        cls._write(cls(pk=1, at=at, counted=position), "counted")

    @classmethod
    def counted_up_to(cls) -> int:
        """Return the position up to which events are counted."""
        return cls._default_manager.values_list("counted", flat=True).first() or 0

    @classmethod
    def archive_place(cls) -> tuple[str, datetime | None]:
        """Return `archived_after` and `archived_at`."""
        places = cls._default_manager.values_list("archived_after", "archived_at")
        return places.first() or ("", None)

    @classmethod
    def note_archived(cls, after: str, ended_at: datetime | None, at: datetime) -> None:
        """Store the place of the archive."""
        row = cls(pk=1, at=at, archived_after=after, archived_at=ended_at)
        cls._write(row, "archived_after", "archived_at")

    @classmethod
    def _write(cls, row: SweepRecord, *fields: str) -> None:
        cls._default_manager.bulk_create(
            [row], update_conflicts=True, unique_fields=["id"], update_fields=fields
        )


class IdempotencyRecord(models.Model):
    """The answer to an idempotency key. For 24 hours the same key and body replay the answer.

    `digest` covers method, path and body. `body` is the JSON answered, null while it is being made.
    The body holds no token of a lease and no secret of a webhook: a replay derives them (R21).
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

    def keep(self, status: int, answer: Any) -> None:
        """Store an answer without its secrets."""
        self.status, self.body = status, with_secrets(answer, lambda answer: None)
        self.save(update_fields=["status", "body"])

    def answer(self) -> Any:
        """Return the stored answer, with its secrets derived again."""
        return with_secrets(self.body, _secret_of)


class RequestCount(models.Model):
    """The requests or failures of a key that all servers of this database counted in a minute.

    `key` names a credential or an address, `minute` is the number of minutes since 1970
    (`hopper/rest/limits.py`).
    """

    key = models.CharField(max_length=200)
    minute = models.BigIntegerField()
    number = models.BigIntegerField(default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["key", "minute"], name="request_count_once"),
        )

    def __str__(self) -> str:
        return f"{self.key}: {self.number}"

    @classmethod
    def add(cls, key: str, minute: int, number: int) -> int:
        """Add to a count and return it."""
        table = cls._meta.db_table
        with connection.cursor() as cursor:
            cursor.execute(
                f"""
                INSERT INTO {table} (key, minute, number) VALUES (%s, %s, %s)
                ON CONFLICT (key, minute) DO UPDATE SET number = {table}.number + excluded.number
                RETURNING number
                """,  # noqa: S608 - the name of a table only
                [key, minute, number],
            )
            return int(cursor.fetchone()[0])

    @classmethod
    def forget(cls, minute: int) -> None:
        """Delete the counts of earlier minutes."""
        cls._default_manager.filter(minute__lt=minute).delete()


def with_secrets(answer: Any, secret_of: Callable[[dict[str, Any]], str | None]) -> Any:
    """Return an answer in which each lease's token and webhook's secret is `secret_of(object)`.

    The object, a claimed task or a webhook, is the answer itself or is in its list `tasks`.
    """
    if not isinstance(answer, dict):
        return answer
    tasks, lease = answer.get("tasks"), answer.get("lease")
    if isinstance(tasks, list):
        return {**answer, "tasks": [with_secrets(task, secret_of) for task in tasks]}
    if "secret" in answer:
        return {**answer, "secret": secret_of(answer)}
    if not isinstance(lease, dict):
        return answer
    return {**answer, "lease": {**lease, "token": secret_of(answer)}}


def _secret_of(answer: dict[str, Any]) -> str:
    if "secret" in answer:
        return webhook_secret(answer["id"], answer["secret_number"])
    return lease_token(answer["id"], answer["lease"]["attempt"], answer["epoch"])
