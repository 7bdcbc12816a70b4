"""Completing plain tasks by one call of a function (R17); other reports take the general way.

A task is plain if it is the root and the only task of its tree, and its lease is of its first
epoch. Nothing is offered, asked or on its way back. The function locks as R6 says and writes the
rows that `change_task` and its receivers write.
"""

# ruff: noqa: S608 - what is put into the statements is named here; values are parameters

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.db import connection, transaction

from hopper import tracing
from hopper.actors import Actor
from hopper.conditions import has_condition
from hopper.database import after_commit
from hopper.database.functions import Function, sharing
from hopper.site_key import FIRST_EPOCH, first_lease
from instances.choices import STARTED, AttemptOutcome, TaskStatus as T
from instances.models import Attempt, Event, HopperInstance, Task
from instances.signals import plain_ends
from instances.tasks.changes import RELEASE
from instances.tasks.dependencies import reevaluate_dependants
from instances.tasks.wakeups import WAKEUPS
from instances.tree.locks import LINES
from instances.tree.status import settle_after_commit

_STORED = Task._meta.get_field("result").get_db_prep_save
_TASK = Task._meta.db_table
_STARTED = ", ".join(f"'{status.value}'" for status in STARTED)

_PLAIN = f"""root_id = id AND NOT decomposed AND status IN ({_STARTED}) AND attempt = number
    AND epoch = {FIRST_EPOCH} AND lease_seconds IS NOT NULL AND instance_id IS NOT NULL
    AND offered_to_id IS NULL AND return_to_id IS NULL AND asked = 0
    AND instance_id = coalesce(%(at)s, instance_id)"""
# The feed of the holder first, then those of all instances on the path and above it.
_EVENTS = f"""INSERT INTO {Event._meta.db_table} (kind, at, actor, actor_id, task_id, instance_id,
    delegation_id, epoch, attempt, before, status, holder_id, ending, data)
    WITH RECURSIVE above (task, place) AS (
        (SELECT id, unnest(ARRAY[instance_id, origin_id]) FROM {_TASK} WHERE id = ANY(plain)
            {{paths}})
        UNION SELECT task, parent_id FROM above JOIN {HopperInstance._meta.db_table} i
            ON i.id = above.place)
    SELECT 'task.{T.DONE.value}', moment, %(actor)s, %(actor_id)s, task, place, '', epoch, attempt,
        CASE WHEN own THEN status ELSE '' END, '{T.DONE.value}', instance_id, TRUE,
        CASE WHEN own THEN '{{{{}}}}'::jsonb ELSE '{{{{"bubbled": true}}}}'::jsonb END
    FROM above JOIN {_TASK} ON id = task, LATERAL (SELECT place = instance_id AS own) feeds
    WHERE place IS NOT NULL AND id = ANY(plain)
    ORDER BY own DESC, array_position(%(tasks)s, id::text), place COLLATE "C" """
_END_ATTEMPT = f"""UPDATE {Attempt._meta.db_table} SET outcome = '{AttemptOutcome.COMPLETED.value}',
    ended_at = greatest(started_at, moment), error = ''
    WHERE task_id = ANY(plain) AND outcome IS NULL"""
_END_TASK = f"""UPDATE {_TASK} SET status = '{T.DONE.value}', error = '',
    result = (%(results)s)[array_position(%(tasks)s, id::text)],
    lease_holder = '', lease_seconds = NULL, lease_expires_at = NULL, route_due = FALSE,
    waiting = '{{}}', finished_at = greatest(moment, created_at),
    updated_at = greatest(moment, updated_at) WHERE id = ANY(plain)"""


@dataclass(frozen=True)
class Done:
    """A report that a task is done: its id, the token of the lease, any JSON as result."""

    task_id: str
    token: str | None = None
    result: Any = None

    @property
    def attempt(self) -> int | None:
        """The number of the attempt if the token is that of a first epoch's lease, else None."""
        return first_lease(self.task_id, self.token) if self.token else None


def complete_at_once(report: Done, actor: Actor) -> Task | None:
    """Finish a plain task and return it; None, with nothing changed, for any other report."""
    function = completing()
    values = completion_values([report], actor) if function.is_kept() else None
    if values is None:
        return None
    for task, (settles,) in function.rows(Task, "task", "settles", **values):
        after_completion([(task.pk, task.instance_id, task.traceparent, settles)])
        return task
    return None


def complete_plain(reports: Sequence[Done], actor: Actor, *, at: str | None = None) -> set[str]:
    """Finish the plain ones of different tasks; return their ids. Others are not changed.

    Inside a transaction all are plain or none is finished: what follows must not lock a tree after
    a counter. `at` names the only instance whose counter may change (R6).
    """
    function = completing()
    values = completion_values(reports, actor, at) if function.is_kept() else None
    if values is None:
        return set()
    words = [f"task ->> '{name}'" for name in ("id", "instance_id", "traceparent")]
    releases = values["whole"] and len(values["tasks"]) > 1
    with transaction.atomic() if releases else nullcontext():
        ended = function.call(*words, "settles", **values)
        if releases:
            # Where not all are plain, the plain ones are locked no longer (R6).
            transaction.set_rollback(not ended)
    after_completion(ended)
    return {task_id for task_id, *_ in ended}


def completion_values(
    reports: Sequence[Done], actor: Actor, at: str | None = None
) -> dict[str, Any] | None:
    """Return the values for the function, None without a report for it."""
    served = [
        (one.task_id, number, _STORED(one.result, connection))
        for one in reports
        if not has_condition(Task, one.task_id) and (number := one.attempt) is not None
    ]
    whole = connection.in_atomic_block
    if not served or (whole and len(served) < len(reports)):
        return None
    tasks, numbers, results = map(list, zip(*served, strict=True))
    values = {"tasks": tasks, "attempts": numbers, "results": results, "whole": whole}
    return values | {"at": at, "actor": actor.name, "actor_id": actor.id}


def after_completion(ended: Sequence[tuple[Any, ...]]) -> None:
    """Do after the commit what follows the ends."""
    for task_id, instance_id, traceparent, _ in ended:
        attributes = {"task_id": task_id, "instance_id": instance_id}
        with tracing.span("done task", traceparent, **attributes):
            pass
    holders = {str(instance_id): settles for _, instance_id, _, settles in ended}
    for instance_id in sorted(pk for pk, settles in holders.items() if settles):
        settle_after_commit(instance_id)
    # A dependant made before the commit saw an open task. Only a look after it finds it (R23).
    after_commit(lambda: reevaluate_dependants([task_id for task_id, *_ in ended]))
    WAKEUPS.wake_after_commit(holders.keys())


@cache
def completing() -> Function:
    """Return the function that completes the plain ones of tasks and returns them."""
    values = "plain, %(tasks)s, %(results)s, %(actor)s, moment"
    paths = "".join(
        f" UNION ALL SELECT task, place FROM {end().name}({values})" for end in plain_ends
    )
    release = RELEASE % ("leases", "holder", "holder")
    return Function(
        title="complete",
        arguments={
            **{name: "text" for name in ("at", "actor", "actor_id")},
            "whole": "boolean",
            "tasks": "text[]",
            "attempts": "integer[]",
            "results": "jsonb[]",
        },
        returns="TABLE (task json, settles boolean)",
        variables="""plain text[]; moment timestamptz; holder text; leases integer; seen boolean;
            stopping text[];""",
        body=f"""
            {sharing(LINES)};
            plain := ARRAY(SELECT id FROM unnest(%(tasks)s, %(attempts)s) AS told (task, number)
                JOIN {_TASK} ON id = task WHERE {_PLAIN} ORDER BY id FOR NO KEY UPDATE OF {_TASK});
            IF %(whole)s AND cardinality(plain) < cardinality(%(tasks)s) THEN RETURN; END IF;
            moment := clock_timestamp();
            {_EVENTS.format(paths=paths)};
            {_END_ATTEMPT};
            {_END_TASK};
            FOR holder, leases IN SELECT instance_id, count(*) FROM {_TASK} WHERE id = ANY(plain)
                GROUP BY instance_id ORDER BY instance_id COLLATE "C" LOOP
                {release} INTO seen;
                IF seen THEN stopping := stopping || holder; END IF;
            END LOOP;
            RETURN QUERY SELECT row_to_json(done), instance_id = ANY(stopping)
                FROM {_TASK} AS done WHERE id = ANY(plain);""",
        holds_counter=True,
    )
