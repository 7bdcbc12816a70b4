"""Completing plain tasks and leasing the next ones by one call of a function (R17, R22).

The report and the claim are one transaction: they wait for the disk once (ADR 0018).
"""

# ruff: noqa: S608 - the statements are made of names from this code; values are parameters

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from django.db import connection

from hopper.database.functions import Function
from instances.models import Task
from instances.tasks.claim_sql import Grant, Queue, Wish, claim_values, claiming, grants_in_order
from instances.tasks.complete_sql import Done, after_completion, completing, completion_values


def complete_and_grant(
    reports: Sequence[Done], wish: Wish, queue: Queue
) -> tuple[set[str], list[Grant]] | None:
    """Finish the plain tasks of the reports; if all are plain, lease the next tasks.

    Each report is of another task. Returns the ids of the finished tasks, and the leases. Returns
    None, with nothing changed, inside a transaction, for a claim by tags, for a conditional report,
    for a report without the token of a first epoch, and where the database has no function.
    """
    if wish.tags or connection.in_atomic_block or not completing_and_claiming().is_kept():
        return None
    report = completion_values(reports, wish.actor, wish.instance_id)
    if report is None or len(report["tasks"]) < len(reports):
        return None
    values = report | claim_values(wish, queue)
    rows = completing_and_claiming().rows(Task, "task", "settles", "carried", "ended", **values)
    done = [(task, settles) for task, (settles, _, ended) in rows if ended]
    after_completion(
        [(task.pk, task.instance_id, task.traceparent, settles) for task, settles in done]
    )
    leased = [(task, carried) for task, (_, carried, ended) in rows if not ended]
    return {task.pk for task, _ in done}, grants_in_order(leased)


@cache
def completing_and_claiming() -> Function:
    """Return the function that completes tasks, and then leases tasks if it completed them all."""
    first, then = completing(), claiming()
    return Function(
        title="next",
        arguments={**first.arguments, **then.arguments},
        returns="TABLE (task json, settles boolean, carried jsonb, ended boolean)",
        variables="number integer;",
        body=f"""
            RETURN QUERY SELECT task, settles, NULL::jsonb, TRUE FROM {first.called};
            GET DIAGNOSTICS number = ROW_COUNT;
            IF number = cardinality(%(tasks)s) THEN
                RETURN QUERY SELECT task, FALSE, carried, FALSE FROM {then.called};
            END IF;""",
        holds_counter=True,
    )
