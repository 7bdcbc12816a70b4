"""A test that holds a lock sees that another connection waits for it (PostgreSQL)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from django.db import connection

if TYPE_CHECKING:
    from threading import Thread

SECONDS = 60
_WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


def until_it_waits(thread: Thread) -> None:
    """Return as soon as the connection of a thread waits for a lock, or the thread has ended."""
    until = time.monotonic() + SECONDS
    with connection.cursor() as cursor:
        while thread.is_alive():
            assert time.monotonic() < until, "it neither waits nor ends"
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(_WAITING)
            if cursor.fetchone()[0]:
                return
            time.sleep(0.01)
