"""The sessions of agents over HTTP, and the leases that were taken in them (R21)."""

from __future__ import annotations

from django.db import models

from hopper.actors import ID_LENGTH
from instances.models.attempt import Attempt


class AgentSession(models.Model):
    """A session of an agent. The caller `actor_id` opened it, and nobody else may use it.

    `seen_at` is the time of its last message, to the hour. `left_at` is when the agent closed its
    stream; null while the stream is open, and for a session that never had one.
    """

    id = models.CharField(primary_key=True, max_length=64)
    actor_id = models.CharField(max_length=ID_LENGTH)
    seen_at = models.DateTimeField(db_index=True)
    left_at = models.DateTimeField(null=True, blank=True, db_index=True)

    def __str__(self) -> str:
        return self.id[:8]


class SessionLease(models.Model):
    """A lease that belongs to a session: the session extends it and gives it back."""

    session = models.ForeignKey(AgentSession, on_delete=models.CASCADE, related_name="leases")
    attempt = models.OneToOneField(Attempt, on_delete=models.CASCADE, related_name="session_lease")

    def __str__(self) -> str:
        return f"{self.session_id[:8]}: {self.attempt_id}"
