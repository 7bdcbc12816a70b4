"""The sessions of agents over HTTP: their leases live with them, and 30 seconds longer (R21).

A session with an open stream is alive. Its leases are extended. When the agent closes the stream
or is killed, the session has a grace in which the agent may connect again; then the sweep gives its
leases back. A session that never had a stream is known by its messages alone: each message extends
its leases, and nothing ends them before their own time.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from hopper import database
from hopper.actors import Actor
from hopper.errors import HopperError, NotFound
from instances.models import AgentSession, Attempt, SessionLease
from instances.queue_settings import queue_settings
from instances.tasks.worker import heartbeat, release_task

GRACE = timedelta(seconds=30)
"""The time in which an agent may connect again before its leases are given back."""

UNDER_WAY = timedelta(seconds=5)
"""A message so soon after the end of the stream was sent before it: the agent may be dead."""

FORGOTTEN = timedelta(days=1)
_NOTED = timedelta(hours=1)
_ENDED = "its session ended"


def open_session(actor: Actor) -> AgentSession:
    """Return a new session of the caller."""
    return AgentSession.objects.create(
        id=secrets.token_hex(24), actor_id=actor.id, seen_at=database.now()
    )


def find_session(session_id: str, actor: Actor) -> AgentSession:
    """Return a session of the caller. Raises NotFound, also for another caller's session."""
    session = AgentSession.objects.filter(pk=session_id, actor_id=actor.id).first()
    if session is None:
        raise NotFound("There is no such session, or it has ended: initialize a new one.")
    return session


def attend(session: AgentSession, *, streaming: bool, actor: Actor) -> bool:
    """Note a sign of life, and extend the leases of the session that are due.

    `streaming`: the stream is open, so a grace that began is over. A message ends a grace too,
    unless it was under way when the stream ended. Returns false where the session has ended.
    """
    now = database.now()
    back = Q(left_at__isnull=False) if streaming else Q(left_at__lt=now - UNDER_WAY)
    stale = back | Q(left_at__isnull=True, seen_at__lt=now - _NOTED)
    mine = AgentSession.objects.filter(pk=session.pk)
    if not mine.filter(stale).update(left_at=None, seen_at=now) and not mine.exists():
        return False
    for attempt in live_leases(session):
        if _is_due(attempt, now):
            # The agent learns of the end of a lease by its next report.
            with suppress(HopperError):
                heartbeat(attempt.task_id, token=attempt.lease_token, actor=actor)
    return True


def leave(session_id: str) -> None:
    """Note that the agent closed its stream: the grace begins."""
    AgentSession.objects.filter(pk=session_id).update(left_at=database.now())


def keep_lease(session: AgentSession, task_id: str, number: int, actor: Actor) -> None:
    """Bind the lease of an attempt to a session, also a lease of an earlier session.

    The lease is given back at once if the session has ended meanwhile.
    """
    attempt = Attempt.objects.get(task=task_id, number=number)
    try:
        with transaction.atomic():
            SessionLease.objects.update_or_create(attempt=attempt, defaults={"session": session})
    except IntegrityError:
        _give_back(attempt, actor)


def live_leases(session: AgentSession) -> QuerySet[Attempt]:
    """Return the attempts whose leases the session holds, the oldest first."""
    attempts = Attempt.objects.filter(session_lease__session=session, outcome__isnull=True)
    return attempts.select_related("task", "instance").order_by("pk")


def end_session(session: AgentSession, actor: Actor) -> None:
    """Give the leases of a session back and forget it."""
    for attempt in live_leases(session):
        _give_back(attempt, actor)
    session.delete()


def left_sessions(limit: int) -> list[str]:
    """Return the sessions whose grace is over, and those that nobody has used for a day."""
    over = AgentSession.objects.filter(_is_over(database.now()))
    return list(over.order_by("seen_at").values_list("pk", flat=True)[:limit])


def end_left_session(session_id: str, actor: Actor) -> bool:
    """End a session whose grace is over. Return false if the agent has come back meanwhile.

    Each lease is given back by itself, and each time the session is looked at again: an agent that
    comes back keeps the leases that it still has.
    """
    over = AgentSession.objects.filter(_is_over(database.now()), pk=session_id)
    for attempt in live_leases(AgentSession(pk=session_id)):
        if not over.exists():
            return False
        _give_back(attempt, actor)
    return bool(over.delete()[0])


def _is_over(now: datetime) -> Q:
    return Q(left_at__lt=now - GRACE) | Q(seen_at__lt=now - FORGOTTEN)


def _is_due(attempt: Attempt, now: datetime) -> bool:
    """Return whether a third of a lease has passed, and its attempt may run on."""
    task: Any = attempt.task
    if task.lease_seconds is None or task.lease_expires_at is None:
        return False
    left = (task.lease_expires_at - now).total_seconds()
    longest = task.max_runtime_seconds
    if longest is None and attempt.instance is not None:
        settings = queue_settings(attempt.instance.scope, attempt.instance.config)
        longest = settings.max_runtime_seconds
    ran = (now - attempt.started_at).total_seconds()
    return left < task.lease_seconds * 2 / 3 and (longest is None or ran < longest)


def _give_back(attempt: Attempt, actor: Actor) -> None:
    with suppress(HopperError):
        release_task(attempt.task_id, token=attempt.lease_token, reason=_ENDED, actor=actor)
