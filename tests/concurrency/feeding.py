"""Writers and readers of the feed, as members of a crowd."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from django.db import Error, transaction
from django.test import Client

from hopper.database import is_outage
from hopper.errors import HopperError
from instances import history
from instances.models import Task
from instances.tasks.creating import NewTask, create_task
from instances.tasks.status_by_hand import set_status
from tests.concurrency.members import BOB

LONGEST = 0.02
"""Seconds of the longest delay before the first lock, between lock and insert, before commit."""


def _delay() -> None:
    if random.random() < 0.5:
        time.sleep(random.uniform(0, LONGEST))


def write(folder: str, instance_id: str, shared: list[str], rounds: int) -> None:
    """Create tasks and block and open shared ones, some of it rolled back, all with delays."""
    inserted = history.write_together

    def write_late(*writes: Any) -> None:
        _delay()
        inserted(*writes)

    history.write_together = write_late
    for number in range(rounds):
        _delay()
        try:
            with transaction.atomic():
                if number % 3:
                    _flip(random.choice(shared))
                else:
                    create_task(NewTask("new", instance_id=instance_id), actor=BOB)
                _delay()
                if random.random() < 0.1:
                    transaction.set_rollback(True)
        except HopperError:
            # Another writer changed the task first.
            continue
        except Error as error:
            # SQLite lets sixteen writers wait in no order, and one of them at times too long.
            if not is_outage(error):
                raise
    (Path(folder) / f"finished-{random.getrandbits(64)}").touch()


def _flip(task_id: str) -> None:
    status = Task.objects.values_list("status", flat=True).get(pk=task_id)
    to = "pending" if status == "blocked" else "blocked"
    set_status(task_id, status=to, reason="turn", force=True, actor=BOB)


def poll(folder: str, secret: str, path: str, limit: int, writers: int) -> list[dict[str, Any]]:
    """Poll a feed until all writers have finished and nothing more comes; return its events."""
    client = Client(HTTP_AUTHORIZATION=f"Bearer {secret}", HTTP_HOST="localhost")
    seen: list[dict[str, Any]] = []
    while True:
        over = len(list(Path(folder).glob("finished-*"))) == writers
        after = seen[-1]["id"] if seen else 0
        answer = client.get(f"/api/v1{path}", {"after": after, "limit": limit})
        assert answer.status_code == 200, answer.content
        rows = answer.json()["results"]
        seen += rows
        if not rows and over:
            return seen
        time.sleep(random.uniform(0, 0.01))
