"""An attempt: one lease of one worker, and how it ended (R21)."""

from __future__ import annotations

from hashlib import sha256

from django.db import models
from django.utils.crypto import constant_time_compare

from hopper.site_key import attempt_of, is_lease_token, lease_token
from instances.choices import AttemptOutcome
from instances.models.instance import HopperInstance
from instances.models.task import Task


class AttemptQuerySet(models.QuerySet["Attempt"]):
    """Chainable reads of attempts."""

    def of_lease(self, task_id: str, token: str) -> Attempt | None:
        """Return the attempt of a task whose lease, live or over, has this token; None for none."""
        number = attempt_of(token)
        if number is None:
            return None
        attempt = self.filter(task=task_id, number=number).first()
        return attempt if attempt is not None and attempt.has_token(token) else None


class Attempt(models.Model):
    """One lease. JSON: `checkpoint` and `artifact` any value; `progress` is 0 to 1 or null.

    `reported_at` is when the worker last sent a checkpoint or its progress. `artifact` keeps the
    first late result, `more_artifacts` the later ones. `error` says why this attempt failed,
    expired or was cancelled. `lease_digest` is the SHA-256 of the token, in hexadecimal digits,
    only for a lease of a release that stored its random token.
    """

    task = models.ForeignKey(
        Task,
        on_delete=models.CASCADE,
        related_name="attempts",
        db_index=False,
        db_constraint=False,
    )
    number = models.PositiveIntegerField()
    epoch = models.PositiveIntegerField()
    instance = models.ForeignKey(
        HopperInstance,
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )
    worker = models.CharField(max_length=200)
    lease_digest = models.CharField(
        max_length=64, default="", db_default="", blank=True, editable=False
    )
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(  # noqa: DJ001
        max_length=12, choices=AttemptOutcome.choices, null=True, blank=True
    )
    error = models.TextField(default="", blank=True)
    checkpoint = models.JSONField(null=True, blank=True)
    progress = models.FloatField(null=True, blank=True)
    reported_at = models.DateTimeField(null=True, blank=True)
    artifact = models.JSONField(null=True, blank=True)
    more_artifacts = models.JSONField(default=list, db_default=[], blank=True)

    objects = AttemptQuerySet.as_manager()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["task", "number"], name="attempt_number_once"),
            models.UniqueConstraint(
                fields=["task"],
                condition=models.Q(outcome__isnull=True),
                name="attempt_one_live_per_task",
            ),
            models.UniqueConstraint(
                fields=["task", "epoch"],
                condition=models.Q(outcome=AttemptOutcome.COMPLETED),
                name="attempt_one_success_per_epoch",
            ),
        )

    def __str__(self) -> str:
        return f"{self.task_id} attempt {self.number}"

    @property
    def lease_token(self) -> str:
        """The token of the lease, derived from the key of the site. No column holds it (R21)."""
        return lease_token(self.task_id, self.number, self.epoch)

    def has_token(self, token: str) -> bool:
        """Return whether `token` is the token of this lease."""
        if is_lease_token(token, self.task_id, self.number, self.epoch):
            return True
        digest = sha256(token.encode()).hexdigest()
        return bool(self.lease_digest) and constant_time_compare(digest, self.lease_digest)
