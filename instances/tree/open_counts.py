"""The open tasks of each instance, as triggers of the table of tasks count them (R9, R22).

A decision reads these counts, not the tasks: a long queue costs it nothing. No code writes them,
except for `recount`. On PostgreSQL the count of an instance is the sum of its rows (ADR 0015).
"""

# ruff: noqa: S608 - the statements are made of names from this code

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db import connection, transaction

from hopper.database import engine
from instances.choices import UNFINISHED
from instances.models import HopperInstance, Task

TABLE = "instances_open_count"

_INSTANCE, _TASK = HopperInstance._meta.db_table, Task._meta.db_table
_WORDS = ", ".join(f"'{status}'" for status in UNFINISHED)
_IS_OPEN = f"status IN ({_WORDS})"
_WRONG = f"""SELECT id, kept, counted FROM (
        SELECT id,
            COALESCE((SELECT sum(tasks) FROM {TABLE} WHERE instance_id = here.id), 0) AS kept,
            (SELECT count(*) FROM {_TASK} WHERE instance_id = here.id AND {_IS_OPEN}) AS counted
        FROM {_INSTANCE} here WHERE {{condition}}
    ) found
    WHERE kept <> counted ORDER BY id"""


class Wrong(NamedTuple):
    """An instance whose kept count is not the number of its open tasks."""

    instance_id: str
    kept: int
    counted: int


def wrong_counts(condition: str = "1 = 1", params: Sequence[Any] = ()) -> list[Wrong]:
    """Return the wrong counts of the instances whose `id` meets the condition (I17)."""
    with connection.cursor() as cursor:
        cursor.execute(_WRONG.format(condition=condition), params)
        return [Wrong(*row) for row in cursor.fetchall()]


def recount() -> list[Wrong]:
    """Count anew if a count is wrong. Return the counts that were wrong.

    Changes of tasks wait meanwhile. A change that waits adds itself afterwards.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        if not engine().one_writer:
            cursor.execute(f"LOCK TABLE {TABLE} IN SHARE ROW EXCLUSIVE MODE")
        wrong = wrong_counts()
        if wrong:
            cursor.execute(f"DELETE FROM {TABLE}")
            cursor.execute(
                f"INSERT INTO {TABLE} (instance_id, tasks) SELECT instance_id, count(*)"
                f" FROM {_TASK} WHERE instance_id IS NOT NULL AND {_IS_OPEN} GROUP BY instance_id"
            )
    return wrong
