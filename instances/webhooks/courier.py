"""The courier: sends the events that are due. No webhook waits for the receiver of another.

The database is read and written in the thread that called `async_to_sync`. The requests run beside
one another in an event loop. A message may arrive twice, after a crash for instance; none is lost.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async
from django.db import close_old_connections, connections, transaction

from hopper import database
from hopper.database import is_outage
from instances.history import newest_position
from instances.models import Delivery, Event, Task, Webhook, lineages
from instances.rights import actor_now
from instances.webhooks.messages import (
    Message,
    message_of,
    secrets_of,
    signed_headers,
    test_message,
)
from instances.webhooks.notices import is_notice, notify
from instances.webhooks.sending import Outcome, post

Show = Callable[[Sequence[Event]], list[dict[str, Any]]]

logger = logging.getLogger(__name__)

TICK_SECONDS = 1.0
AT_ONCE = 50
"""The most webhooks that one process serves at the same time."""

BATCH = 50
"""The most messages of a turn."""

TURN_SECONDS = 10.0
"""After so long a turn begins no further message."""

TAKEN = timedelta(seconds=60)
"""A turn has ended by then, unless its process has: another one takes the webhook."""

PAUSES = (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600)
"""The seconds from a failure to the next try, as Standard Webhooks recommends."""

PATIENCE = timedelta(hours=24)
"""A webhook that has failed for so long is switched off."""

KEPT_DELIVERIES = 200
"""The rows of the log that each webhook keeps."""


@dataclass
class Turn:
    """The messages of one webhook that are due, and what became of those that were sent."""

    webhook: Webhook
    messages: list[Message]
    horizon: int
    """The position that is reached when all messages are delivered."""
    secrets: list[str]
    titles: Mapping[str, str]
    """The titles of the tasks, where the receiver is a person."""
    sent: list[tuple[Message, Outcome, datetime]] = field(default_factory=list)

    @property
    def last(self) -> Outcome | None:
        """The outcome of the last message."""
        return self.sent[-1][1] if self.sent else None

    @property
    def position(self) -> int:
        """The position of the last event that was delivered, or is of no interest."""
        done = [message.position for message, outcome, _ in self.sent if outcome.is_delivered]
        if len(done) == len(self.messages):
            return self.horizon
        return next((one for one in reversed(done) if one is not None), self.webhook.position)


class Courier:
    """Sends what is due. `show` returns events as the REST interface shows them."""

    def __init__(self, show: Show) -> None:
        self.show = show
        self.turns: dict[str, asyncio.Task[int]] = {}

    def once(self) -> int:
        """Give each webhook that is due one turn. Return the number of delivered messages."""
        return async_to_sync(self._once)()

    def loop(self, stopped: Callable[[], bool]) -> None:
        """Send what is due, look again every second, and end soon after `stopped()`."""
        try:
            async_to_sync(self._loop)(stopped)
        finally:
            connections.close_all()

    async def _once(self) -> int:
        due = await sync_to_async(due_webhooks)(AT_ONCE)
        return sum(await asyncio.gather(*map(self._turn, due)))

    async def _loop(self, stopped: Callable[[], bool]) -> None:
        while not stopped():
            self.turns = {pk: turn for pk, turn in self.turns.items() if not turn.done()}
            try:
                for pk in await sync_to_async(due_webhooks)(AT_ONCE - len(self.turns)):
                    if pk not in self.turns:
                        self.turns[pk] = asyncio.create_task(self._turn(pk))
            except Exception as error:
                outage, told = is_outage(error), {"event": "webhooks_failed"}
                logger.warning("webhooks wait: %s", error, extra=told, exc_info=not outage)
                await sync_to_async(close_old_connections)()
            await asyncio.sleep(TICK_SECONDS)
        for turn in self.turns.values():
            turn.cancel()
        await asyncio.gather(*self.turns.values(), return_exceptions=True)

    async def _turn(self, pk: str) -> int:
        """Send the messages of one webhook in their order, up to the first failure."""
        try:
            turn = await sync_to_async(begin)(pk, self.show)
            if turn is None:
                return 0
            try:
                await _send(turn)
            finally:
                await sync_to_async(finish)(turn)
        except Exception:
            told = {"event": "webhook_turn_failed", "row": pk}
            logger.exception("the turn of %s failed", pk, extra=told)
            return 0
        return sum(outcome.is_delivered for _, outcome, _ in turn.sent)


async def _send(turn: Turn) -> None:
    clock = asyncio.get_running_loop().time
    ends = clock() + TURN_SECONDS
    for message in turn.messages:
        now, url = datetime.now(UTC), turn.webhook.url
        if is_notice(url):
            outcome = await notify(url, message, turn.titles)
        else:
            outcome = await post(url, signed_headers(message, turn.secrets, now), message.body)
        turn.sent.append((message, outcome, now))
        if not outcome.is_delivered or clock() > ends:
            return


def due_webhooks(limit: int) -> list[str]:
    """Return webhooks that may have something to send, at most `limit`."""
    if not Webhook.objects.exists():
        return []
    due = Webhook.objects.due(database.now(), newest_position())
    # In random order: each gets its turn, also where there are more than the limit.
    return list(due.order_by("?").values_list("pk", flat=True)[:limit])


def begin(pk: str, show: Show) -> Turn | None:
    """Take a webhook and return its messages; None where there are none or another has taken it.

    Switches the webhook off where its owner is no longer an admin of the instance.
    """
    now, newest = database.now(), newest_position()
    webhook = Webhook.objects.due(now, newest).filter(pk=pk).first()
    if webhook is None:
        return None
    line = [one.id for one in lineages([webhook.instance_id])[webhook.instance_id]]
    if not actor_now(webhook.owner_id, webhook.owner, now).holds("admin", line):
        reason = f"{webhook.owner} is no longer an admin of {webhook.instance_id}"
        _same(webhook).update(enabled=False, off_reason=reason, test_due=False)
        return None
    messages, horizon = [test_message(webhook, now)], webhook.position
    titles: dict[str, str] = {}
    if not webhook.test_due:
        rows: Any = list(webhook.events(newest)[:BATCH])
        told = zip(rows, show(rows), strict=True)
        messages = [message_of(row.number, row.pk, event) for row, event in told]
        if is_notice(webhook.url):
            tasks = Task.objects.filter(pk__in={row.task_id for row in rows})
            titles = dict(tasks.values_list("pk", "title"))
        horizon = rows[-1].number if len(rows) == BATCH else webhook.reach(newest)
    if not messages:
        # A webhook that lags behind a busy feed is moved on, but not for each event.
        _same(webhook).filter(position__lt=horizon - BATCH).update(position=horizon)
        return None
    taken = now + TAKEN
    if not _same(webhook).update(taken_until=taken):
        return None
    webhook.taken_until = taken
    return Turn(webhook, messages, horizon, secrets_of(webhook, now), titles)


def finish(turn: Turn) -> None:
    """Write the log, the position that was reached, and when the next try is.

    A webhook that a person changed meanwhile keeps the person's values.
    """
    webhook, last, now = turn.webhook, turn.last, database.now()
    changes: dict[str, Any] = {"taken_until": None}
    if last is not None:
        changes |= _after(turn, last, now)
    with transaction.atomic():
        _same(webhook).update(**changes)
        if Webhook.objects.filter(pk=webhook.pk).exists():
            _log(turn)


def _after(turn: Turn, last: Outcome, now: datetime) -> dict[str, Any]:
    """Return the columns that the outcome of the last message of a turn changes."""
    webhook = turn.webhook
    if webhook.test_due:
        return {"test_due": False} | ({"next_at": None} if last.is_delivered else {})
    reached = {"position": turn.position}
    if last.is_delivered:
        return reached | {"failures": 0, "failing_since": None, "next_at": None}
    return reached | _after_failure(webhook, last, turn, now)


def _after_failure(webhook: Webhook, last: Outcome, turn: Turn, now: datetime) -> dict[str, Any]:
    """Return the pause until the next try, or the end of a webhook that failed for a day."""
    first = len(turn.sent) > 1  # A message before this one was delivered.
    since = now if first else webhook.failing_since or now
    failures = 1 if first else webhook.failures + 1
    told: dict[str, Any] = {"failing_since": since, "failures": failures}
    if last.is_gone:
        return told | {"enabled": False, "off_reason": "the receiver answered 410: gone"}
    if now - since >= PATIENCE:
        reason = f"failed for a day, at last: {last.reason}"[:200]
        return told | {"enabled": False, "off_reason": reason}
    pause = PAUSES[min(failures, len(PAUSES)) - 1]
    jitter = pause * random.uniform(0, 0.1)  # noqa: S311 - spreads the tries
    return told | {"next_at": min(now + timedelta(seconds=pause + jitter), since + PATIENCE)}


def _same(webhook: Webhook) -> Any:
    """Return the row, unless somebody changed it since it was read."""
    names = ("url", "position", "taken_until", "owner_id", "enabled")
    return Webhook.objects.filter(pk=webhook.pk, **{n: getattr(webhook, n) for n in names})


def _log(turn: Turn) -> None:
    rows = [
        Delivery(
            webhook=turn.webhook,
            position=message.position,
            message_id=message.id,
            kind=message.kind,
            at=at,
            seconds=round(outcome.seconds, 3),
            status=outcome.status,
            reason=outcome.reason,
        )
        for message, outcome, at in turn.sent
    ]
    Delivery.objects.bulk_create(rows)
    kept = turn.webhook.deliveries.order_by("-pk")
    oldest = kept.values_list("pk", flat=True)[KEPT_DELIVERIES - 1 : KEPT_DELIVERIES].first()
    if oldest is not None:
        turn.webhook.deliveries.filter(pk__lt=oldest).delete()
