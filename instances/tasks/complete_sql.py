"""Completing a plain task by one call of a function (R17); every other report takes `worker`'s way.

A task is plain if it is the root and the only task of its tree, and its lease is of its first
epoch. Nothing is offered, asked or on its way back. The function locks as R6 says and writes the
rows that `change_task` and its receivers write.
"""

# ruff: noqa: S608 - what is put into the statements is named here; values are parameters

from __future__ import annotations

from functools import cache, partial
from typing import Any

from django.db import connection, transaction

from hopper import tracing
from hopper.actors import Actor
from hopper.conditions import has_condition
from hopper.database import after_commit
from hopper.database.functions import Function, sharing
from hopper.site_key import is_lease_token
from instances.choices import STARTED, AttemptOutcome
from instances.choices import TaskStatus as T
from instances.models import Attempt, Event, HopperInstance, Task, TaskDependency
from instances.signals import plain_ends
from instances.tasks.changes import RELEASE
from instances.tasks.dependencies import reevaluate_dependants
from instances.tasks.wakeups import WAKEUPS
from instances.tree.locks import LINES
from instances.tree.status import settle_after_commit

_FIRST = 1
"""The epoch of a task that was never opened again."""
_TASK = Task._meta.db_table
_STARTED = ", ".join(f"'{status.value}'" for status in STARTED)

_OTHER = f"""t.id IS NULL OR t.decomposed OR t.status NOT IN ({_STARTED})
    OR t.attempt <> %(attempt)s OR t.epoch <> {_FIRST} OR t.lease_seconds IS NULL
    OR t.instance_id IS NULL OR t.offered_to_id IS NOT NULL OR t.return_to_id IS NOT NULL
    OR t.asked > 0 OR t.instance_id <> %(at)s"""
_END_TASK = f"""UPDATE {_TASK} SET status = '{T.DONE.value}', result = %(result)s, error = '',
    lease_holder = '', lease_seconds = NULL, lease_expires_at = NULL, route_due = FALSE,
    waiting = '{{}}', finished_at = greatest(moment, created_at),
    updated_at = greatest(moment, updated_at)
    WHERE id = %(task)s RETURNING * INTO t"""
_END_ATTEMPT = f"""UPDATE {Attempt._meta.db_table} SET outcome = '{AttemptOutcome.COMPLETED.value}',
    ended_at = greatest(started_at, moment), error = ''
    WHERE task_id = %(task)s AND outcome IS NULL"""
# The feed of the holder first, then those of all instances on the path and above it.
_EVENTS = f"""INSERT INTO {Event._meta.db_table} (kind, at, actor, actor_id, task_id, instance_id,
    delegation_id, epoch, attempt, before, status, holder_id, ending, data)
    WITH RECURSIVE above (id) AS (
        SELECT unnest(places)
        UNION SELECT i.parent_id FROM above JOIN {HopperInstance._meta.db_table} i
            ON i.id = above.id)
    SELECT 'task.{T.DONE.value}', moment, %(actor)s, %(actor_id)s, t.id, id, '', t.epoch,
        t.attempt, CASE WHEN own THEN before ELSE '' END, t.status, t.instance_id, TRUE,
        CASE WHEN own THEN '{{}}'::jsonb ELSE '{{"bubbled": true}}'::jsonb END
    FROM (SELECT id, id = t.instance_id AS own FROM above WHERE id IS NOT NULL) feeds
    ORDER BY own DESC, id COLLATE "C"
"""
_FOLLOWED = f"""EXISTS (SELECT FROM {TaskDependency._meta.db_table}
    WHERE depends_on_id = %(task)s)"""


def complete_at_once(
    task_id: str, token: str | None, result: Any, actor: Actor, *, at: str | None = None
) -> Task | None:
    """Finish a plain task and return it; None, with nothing changed, for any other report.

    `at` names the only instance whose counter may change (R6).
    """
    number = (token or "").partition(".")[0]
    if not token or not (number.isascii() and number.isdecimal()) or has_condition(Task, task_id):
        return None
    function = completing()
    if not function.is_kept() or not is_lease_token(token, task_id, int(number), _FIRST):
        return None
    values = {"result": Task._meta.get_field("result").get_db_prep_save(result, connection)}
    values |= {
        "at": at,
        "task": task_id,
        "attempt": int(number),
        "actor": actor.name,
        "actor_id": actor.id,
    }
    for task, (settles, followed) in function.rows(Task, "task", "settles", "followed", **values):
        told = {"task_id": task_id, "instance_id": task.instance_id}
        with tracing.span("done task", task.traceparent, **told):
            _follow(task, settles=settles, followed=followed)
        return task
    return None


def _follow(task: Task, *, settles: bool, followed: bool) -> None:
    """Do after the commit what follows the end."""
    holder = str(task.instance_id)
    if settles:
        settle_after_commit(holder)
    if followed:
        after_commit(lambda: reevaluate_dependants([task.pk]))
    if holder in WAKEUPS.instance_ids():
        transaction.on_commit(partial(WAKEUPS.wake, [holder]), robust=True)


@cache
def completing() -> Function:
    """Return the function that completes a plain task; no row where the task is not plain."""
    ends = "".join(f" || {end().name}(p_task, p_result, p_actor, moment)" for end in plain_ends)
    release = RELEASE % ("1", "t.instance_id", "t.instance_id")
    return Function(
        title="complete",
        arguments={
            **{name: "text" for name in ("task", "at", "actor", "actor_id")},
            "attempt": "integer",
            "result": "jsonb",
        },
        returns=f"TABLE (task {_TASK}, settles boolean, followed boolean)",
        variables=f"t {_TASK}; moment timestamptz; before text; places text[];",
        body=f"""
            {sharing(LINES)};
            SELECT * INTO t FROM {_TASK}
                WHERE id = %(task)s AND root_id = %(task)s FOR NO KEY UPDATE;
            IF {_OTHER} THEN RETURN; END IF;
            moment := clock_timestamp();
            before := t.status;
            {_END_TASK};
            {_END_ATTEMPT};
            places := ARRAY[t.instance_id, t.origin_id]::text[]{ends};
            {_EVENTS};
            task := t;
            followed := {_FOLLOWED};
            {release} INTO settles;
            RETURN NEXT;""",
    )
