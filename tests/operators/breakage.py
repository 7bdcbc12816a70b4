"""The world that is broken on purpose, and the list of ways: at least two for each invariant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import connection, transaction

from instances.models import HopperInstance, Task
from instances.tasks.worker import claim_next, complete_task
from instances.tree import open_counts
from tests.factories import ALICE, InstanceFactory, TaskFactory

CAPABLE = {"capabilities": ["web"]}


@dataclass
class World:
    """GLOBAL > PROJECT > ORCHESTRATION with a task in each stage of its life."""

    top: HopperInstance
    web: HopperInstance
    run: HopperInstance
    other: HopperInstance
    manual: Task
    queued: Task
    leased: Task
    done: Task


def build() -> World:
    """Make the sound world that is then broken."""
    top = InstanceFactory(name="top")
    web = InstanceFactory(scope="PROJECT", parent=top, name="web", config=CAPABLE)
    run = InstanceFactory(scope="ORCHESTRATION", parent=web, name="run")
    other = InstanceFactory(scope="PROJECT", parent=top, name="other")
    done = worked(top, run)
    leased = sent(top)
    claim_next(run.pk, worker="bob", actor=ALICE)
    manual = TaskFactory(instance=top, tags=["web"], executor_preference="human")
    return World(top, web, run, other, manual, sent(top), leased, done)


def sent(top: HopperInstance) -> Task:
    """Return a new task that has fallen to the run."""
    return TaskFactory(instance=top, tags=["web"], complexity=4)


def worked(top: HopperInstance, run: HopperInstance) -> Task:
    """Return a task that fell to the run and is done there."""
    task = sent(top)
    (lease,) = claim_next(run.pk, worker="bob", actor=ALICE).leases
    complete_task(task.pk, token=lease.token, actor=ALICE)
    return task


Rows = dict[str, list[tuple[Any, ...]]]
"""Every row of every table of ours."""


def rows() -> Rows:
    """Return all that is in our tables."""
    with connection.cursor() as cursor:
        return {table: _read(cursor, table) for table in _tables()}


def restore(rows: Rows) -> None:
    """Make our tables hold these rows and no others."""
    with transaction.atomic(), connection.cursor() as cursor:
        for table in rows:
            cursor.execute(f"DELETE FROM {table}")
        for table, lines in rows.items():
            if lines:
                marks = ", ".join(["%s"] * len(lines[0]))
                cursor.executemany(f"INSERT INTO {table} VALUES ({marks})", lines)
        open_counts.recount()


def _read(cursor: Any, table: str) -> list[tuple[Any, ...]]:
    cursor.execute(f"SELECT * FROM {table}")
    return list(cursor.fetchall())


def _tables() -> list[str]:
    rooms = [apps.get_app_config(room) for room in ("instances", "scopes", "delegation")]
    return [model._meta.db_table for room in rooms for model in room.get_models()]


Break = Callable[[World], None]

BREAKAGE: list[tuple[str, Break]] = []


def breaks(number: str) -> Callable[[Break], Break]:
    """Register a way to break an invariant, by writing rows behind the services' backs."""

    def register(how: Break) -> Break:
        BREAKAGE.append((number, how))
        return how

    return register
