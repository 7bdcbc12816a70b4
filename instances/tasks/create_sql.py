"""Creating a plain task by one call of a function (R6); every other task takes `creating`'s way.

A task is plain if it stands alone, at an instance that runs with all above it. The function locks
as R6 says and writes the rows that `insert_tasks` writes.
"""

# ruff: noqa: S608 - what is put into the statements is named here; values are parameters

from __future__ import annotations

from functools import cache

from hopper.actors import Actor
from hopper.database.functions import Function, as_json, inserting
from instances.allowances import ROUTING
from instances.choices import HopperScope
from instances.models import Event, HopperInstance, Task, halted
from instances.tasks.wakeups import WAKEUPS

_INSTANCE = HopperInstance._meta.db_table
_TASK = Task._meta.db_table
_ROUTING = ", ".join(f"'{scope.value}'" for scope in sorted(ROUTING))
_NUL = "\\u0000"
"""NUL as JSON writes it. The database takes none, and the general code gives the error."""


def insert_at_once(task: Task, actor: Actor) -> bool:
    """Write a new plain task and its event. Returns False and writes nothing for any other task.

    The database keeps `creating`. Sets the holder and the moment on the object.
    """
    function = creating()
    given = as_json(task)
    if _NUL in given:
        return False
    values = {
        "place": task.instance_id,
        "given": given,
        "handicap": task.handicap,
        "actor": actor.name,
        "actor_id": actor.id,
    }
    for holder, (moment,) in function.rows(HopperInstance, "holder", "moment", **values):
        task.instance = task.origin = holder
        task.created_at = task.updated_at = moment
        task.route_due = holder.scope in ROUTING
        task.queue_from(moment)
        task._state.adding = False
        task.remember(task.changed_fields())
        if not task.route_due:
            WAKEUPS.wake_after_commit([holder.pk])
        return True
    return False


@cache
def creating() -> Function:
    """Return the function that creates a plain task; no row where the task is not plain."""
    return Function(
        title="create",
        arguments={
            **{name: "text" for name in ("place", "actor", "actor_id")},
            "given": "jsonb",
            "handicap": "interval",
        },
        returns="TABLE (holder json, moment timestamptz)",
        variables=f"place {_INSTANCE}; t {_TASK};",
        body=f"""
            SELECT * INTO place FROM {_INSTANCE} WHERE id = %(place)s FOR SHARE;
            IF place.id IS NULL OR place.scope = '{HopperScope.FEDERATED.value}'
                OR {halted("%(place)s")} THEN RETURN; END IF;
            moment := clock_timestamp();
            t := jsonb_populate_record(NULL::{_TASK}, %(given)s);
            t.created_at := moment;
            t.updated_at := moment;
            t.queue_at := greatest(moment, t.not_before) + %(handicap)s;
            t.route_due := place.scope IN ({_ROUTING});
            {inserting(Task, "t")};
            INSERT INTO {Event._meta.db_table} (kind, at, actor, actor_id, task_id, instance_id,
                delegation_id, epoch, attempt, before, status, holder_id, ending, data)
            VALUES ('task.created', moment, %(actor)s, %(actor_id)s, t.id, place.id,
                '', t.epoch, t.attempt, '', t.status, place.id, FALSE, '{{}}');
            holder := row_to_json(place);
            RETURN NEXT;""",
    )
