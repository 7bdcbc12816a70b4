"""Granting leases: one statement picks, counts and marks, so no task is leased twice (R21)."""

# ruff: noqa: S608 - what is put into the statements is named here; values are parameters

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from django.db import connection, transaction

from hopper import database
from hopper.actors import Actor
from hopper.counts import counted
from hopper.database import engine
from hopper.database.functions import Function
from hopper.database.rows import columns, read, select
from instances.allowances import UNSTARTED, allowing
from instances.choices import TaskStatus as T
from instances.models import (
    AGEING,
    CLAIM_ORDER_SQL,
    UNREAD,
    Attempt,
    Event,
    HopperInstance,
    InstanceLoad,
    Question,
    Task,
    claimable_sql,
    condition_sql,
)
from instances.queue_settings import queue_settings

if TYPE_CHECKING:
    from instances.settings import QueueSettings

_TASK = Task._meta.db_table
_INSTANCE = HopperInstance._meta.db_table
_MAX_PROBES = 50
"""The most kinds of tasks that are probed one by one. Above, the queue is filtered."""
_MAX_KINDS = 1000
"""The most kinds in a queue that are listed one by one. Above, the queue is filtered."""
_FURTHEST = 4 * AGEING
"""The furthest that a claimable task stands ahead of now, and some."""
_BOUNDLESS = 10**9
_UNREAD_SQL = "E'\\n'"
"""`UNREAD`, and what stands between the words of a key."""
_RIVALS = 32
"""The most tasks locked by other claims that a probe may skip and still find a task."""

_MARK = f"""UPDATE {_TASK} SET status = 'claimed', attempt = attempt + 1, worker = %(worker)s,
    lease_holder = %(holder)s, lease_seconds = %(seconds)s, lease_expires_at = %(until)s,
    retry_at = NULL, waiting = '{{}}',
    updated_at = CASE WHEN updated_at > %(now)s THEN updated_at ELSE %(now)s END"""
# A new attempt stands where the last one got to.
_ATTEMPTS = f"""INSERT INTO {Attempt._meta.db_table}
    (task_id, number, epoch, instance_id, worker, started_at, error, checkpoint)
    SELECT id, attempt, epoch, instance_id, worker, %(now)s, '',
        (SELECT last.checkpoint FROM {Attempt._meta.db_table} last
         WHERE last.task_id = marked.id AND last.number = marked.attempt - 1)
    FROM {{marked}}"""
_CARRIED = "RETURNING task_id, checkpoint AS carried"
_EVENTS = f"""INSERT INTO {Event._meta.db_table}
    (kind, at, actor, actor_id, task_id, instance_id, delegation_id, epoch, attempt, before, status,
     holder_id, ending, data)
    SELECT 'task.claimed', %(now)s, %(actor)s, %(holder)s, id, instance_id, '', epoch, attempt,
        'pending', status, instance_id, FALSE, {{data}}
    FROM {{marked}}"""
# The work goes on without an answer (R11).
_SET_ASIDE = f"""UPDATE {Question._meta.db_table} SET state = 'set_aside'
    WHERE state = 'open' AND task_id IN (SELECT id FROM {{marked}} {{asked}} asked > 0)"""
# The locked row has its present value; all other rows have their values from the start of the
# statement. A stop writes this row, so the statement sees a stop that came meanwhile.
_COUNT = f"""UPDATE {InstanceLoad._meta.db_table} SET running = running + {{count}}
    WHERE instance_id = %(instance)s AND running + {{count}} <= %(most)s AND stops ="""
_STOPS = f"(SELECT stops FROM {InstanceLoad._meta.db_table} WHERE instance_id = %(instance)s)"


def _words(values: Iterable[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)


# R3 and R4 in SQL: every status on the line grants claims, except unstarted ancestors.
_CLAIMING = f"""NOT EXISTS (
    WITH RECURSIVE line (parent_id, status, own) AS (
        SELECT parent_id, status, TRUE FROM {_INSTANCE} WHERE id = %(instance)s
        UNION SELECT above.parent_id, above.status, FALSE
        FROM line JOIN {_INSTANCE} AS above ON above.id = line.parent_id)
    SELECT 1 FROM line
    WHERE status NOT IN ({_words(allowing("claim"))})
        AND (own OR status NOT IN ({_words(UNSTARTED)})))"""
_ROOM = f"""(SELECT running FROM {InstanceLoad._meta.db_table}
    WHERE instance_id = %(instance)s)"""


@dataclass(frozen=True)
class Wish:
    """The request of a worker, capabilities and tags as keys (R25). None means any work.

    `task_id` asks for that task instead of the next `limit` tasks of the queue.
    """

    instance_id: str
    worker: str
    actor: Actor
    limit: int
    lease_seconds: int
    capabilities: Sequence[str] | None = None
    tags: Sequence[str] | None = None
    task_id: str | None = None


@dataclass(frozen=True)
class Queue:
    """The values of an instance that a claim needs."""

    scope: str
    config: Mapping[str, Any]

    @property
    def settings(self) -> QueueSettings:
        """The settings of the queue, as the files give them now."""
        return queue_settings(self.scope, self.config)


@dataclass(frozen=True)
class Grant:
    """A task just leased, and the checkpoint of its last attempt."""

    task: Task
    checkpoint: Any


def grant(wish: Wish, most: int) -> list[Grant]:
    """Lease up to `limit` of the next claimable tasks, in queue order, with attempts and events.

    Never lets the instance hold more than `most` leases (R22), nor begin one after a stop (R3): the
    counter is raised in the same statement. Returns none where none fits, where there is no room,
    where the instance may not start work, or where others took the last places at this very moment.
    """
    params = _values(wish, most)
    with_clause = _pick(wish, params)
    write = _in_one_statement if engine().writes_in_with else _in_one_transaction
    return _in_order(write(with_clause, params))


def grant_at_once(wish: Wish, queue: Queue) -> list[Grant]:
    """Lease as `grant` does, by one call of a function, for a worker that asks for no tags.

    Returns none too where the queue is not as given any more, and where no function is kept: the
    general code then decides.
    """
    function = claiming()
    if wish.tags or not function.is_kept():
        return []
    rows = function.rows(Task, "task", "carried", **claim_values(wish, queue))
    return grants_in_order([(task, carried) for task, (carried,) in rows])


def claim_values(wish: Wish, queue: Queue) -> dict[str, Any]:
    """Return the values for the function."""
    return _values(wish, queue.settings.max_concurrent_tasks) | {
        "scope": queue.scope,
        "config": json.dumps(queue.config),
        "able": wish.capabilities,
    }


def grants_in_order(leased: Iterable[tuple[Task, str | None]]) -> list[Grant]:
    """Return what the function leased, each task with its checkpoint, in queue order."""
    return _in_order([Grant(task, _checkpoint(carried)) for task, carried in leased])


@cache
def claiming() -> Function:
    """Return the function that leases tasks to workers of any capabilities, as `grant` does."""
    steps = _steps()
    for name, value in (
        ("now", "moment"),
        ("soon", f"moment + interval '{_FURTHEST.total_seconds()}'"),
        ("until", "moment + make_interval(secs => %(seconds)s)"),
        ("near", f"%(limit)s + {_RIVALS}"),
    ):
        steps = steps.replace(f"%({name})s", value)
    return Function(
        title="claim",
        arguments={
            **{name: "text" for name in ("instance", "scope", "worker", "holder", "actor")},
            **{name: "integer" for name in ("most", "limit", "seconds")},
            "config": "jsonb",
            "able": "text[]",
        },
        returns="TABLE (task json, carried jsonb)",
        variables="""held integer; halts integer; kinds text[]; picked text[]; taken integer;
            moment timestamptz;""",
        body=steps,
        holds_counter=True,
    )


def _steps() -> str:
    """Return the statements of `claiming`: the room and the stops are read first, and locked last.

    The moment of the claim follows the last lock.
    """
    picked = f"{_TASK} AS marked WHERE id = ANY(picked)"
    attempts, load = Attempt._meta.db_table, InstanceLoad._meta.db_table
    data = "jsonb_build_object('worker', %(worker)s)"
    return f"""
        SELECT running, stops INTO held, halts FROM {_INSTANCE} JOIN {load} ON instance_id = id
            WHERE id = %(instance)s AND scope = %(scope)s AND config = %(config)s
            AND running < %(most)s AND {_CLAIMING};
        IF NOT FOUND THEN RETURN; END IF;
        moment := clock_timestamp();
        {_picking()}
        taken := cardinality(picked);
        IF taken = 0 THEN RETURN; END IF;
        {_COUNT.format(count="taken")} halts;
        IF NOT FOUND THEN RETURN; END IF;
        moment := clock_timestamp();
        {_MARK} WHERE id = ANY(picked);
        {_ATTEMPTS.format(marked=picked)};
        {_EVENTS.format(marked=picked, data=data)};
        {_SET_ASIDE.format(marked=picked, asked="AND")};
        RETURN QUERY SELECT row_to_json(marked), (SELECT checkpoint FROM {attempts} AS tried
            WHERE task_id = marked.id AND number = marked.attempt) FROM {picked};"""


def _picking() -> str:
    """Return the statements that lock the next tasks, as many as there is room for."""
    fits = f"instance_id = %(instance)s AND queue_at <= %(soon)s AND {claimable_sql()}"
    room = "LIMIT least(%(limit)s, %(most)s - held) FOR NO KEY UPDATE"
    probe = f"""SELECT id AS found FROM {_TASK} WHERE {fits} AND cap_key = kind
        AND (kind <> {_UNREAD_SQL} OR capability_keys <@ to_jsonb(%(able)s))
        ORDER BY {CLAIM_ORDER_SQL} LIMIT %(near)s"""
    return f"""
        IF %(able)s IS NULL THEN
            picked := ARRAY(SELECT id FROM {_TASK} WHERE {fits}
                ORDER BY {CLAIM_ORDER_SQL} {room} SKIP LOCKED);
        ELSE
            kinds := ARRAY({_kinds("cap_key", _MAX_KINDS + 1)});
            IF cardinality(kinds) > {_MAX_KINDS} THEN RETURN; END IF;
            kinds := ARRAY(SELECT kind FROM unnest(kinds) kind WHERE kind = {_UNREAD_SQL}
                OR string_to_array(kind, {_UNREAD_SQL}) <@ %(able)s);
            IF cardinality(kinds) > {_MAX_PROBES} THEN RETURN; END IF;
            picked := ARRAY(
                SELECT id FROM (SELECT found FROM unnest(kinds) kind, LATERAL ({probe}) probes)
                    near CROSS JOIN {_TASK} WHERE {fits} AND id = found
                ORDER BY {CLAIM_ORDER_SQL} {room} OF {_TASK} SKIP LOCKED);
        END IF;"""


def _values(wish: Wish, most: int) -> dict[str, Any]:
    return _searching(wish, most) | {
        "worker": wish.worker,
        "holder": wish.actor.id,
        "actor": wish.actor.name,
        "seconds": wish.lease_seconds,
        "length": timedelta(seconds=wish.lease_seconds),
        "furthest": _FURTHEST,
        "data": json.dumps({"worker": wish.worker}),
    }


def _in_order(found: list[Grant]) -> list[Grant]:
    return sorted(
        found, key=lambda one: (not one.task.queue_urgent, one.task.queue_at, one.task.pk)
    )


def _searching(wish: Wish, most: int) -> dict[str, Any]:
    return {
        "instance": wish.instance_id,
        "task": wish.task_id,
        "most": most,
        "limit": wish.limit,
        "near": wish.limit + _RIVALS,
    }


def _at(now: datetime) -> dict[str, datetime]:
    return {"now": now, "soon": now + _FURTHEST}


def _in_one_statement(picking: str, params: dict[str, Any]) -> list[Grant]:
    found = f"SELECT {columns(Task)}, carried FROM marked JOIN tried ON task_id = id"
    with connection.cursor() as cursor:
        rows = engine().commit_early(cursor, f"{_writing(picking)} {found}", params)
    return [Grant(task, _checkpoint(carried)) for task, (carried,) in read(Task, rows)]


def _writing(picking: str) -> str:
    """Return the WITH that picks, counts and marks; it ends in `marked` and `tried`."""
    counted = f"{_COUNT.format(count='(SELECT count(*) FROM pick)')} {_STOPS}"
    # An array, because the planner takes the limit for a tenth of the queue: a join reads it whole.
    picked = "id = ANY(ARRAY(SELECT picked FROM pick)) AND EXISTS (SELECT 1 FROM place)"
    marked = f"{_MARK} WHERE {picked} RETURNING {_TASK}.*"
    # Read within the statement: no task that it sees was made after this moment.
    moment = "(SELECT at FROM moment)"
    statement = f"""
        WITH moment (at) AS MATERIALIZED (SELECT {engine().clock}), {picking},
        place AS ({counted} AND EXISTS (SELECT 1 FROM pick) RETURNING 1),
        marked AS ({marked}),
        tried AS ({_ATTEMPTS.format(marked="marked")} {_CARRIED}),
        recorded AS ({_EVENTS.format(marked="marked", data="%(data)s::jsonb")}),
        aside AS ({_SET_ASIDE.format(marked="marked", asked="WHERE")})"""
    for name, span in (("until", "length"), ("soon", "furthest")):
        statement = statement.replace(f"%({name})s", f"{moment} + %({span})s")
    return statement.replace("%(now)s", moment)


def _in_one_transaction(picking: str, params: dict[str, Any]) -> list[Grant]:
    """Do the same in several statements, for a database with one writer at a time."""
    with transaction.atomic(), connection.cursor() as cursor:
        now = database.now()
        until = now + params.pop("length")
        params = {**params, **_at(now), "until": until}
        values = {key: connection.ops.adapt_unknown_value(one) for key, one in params.items()}
        marked = f"{_MARK} WHERE id IN (SELECT picked FROM pick) RETURNING {columns(Task)}"
        tasks = {task.pk: task for task in select(Task, f"WITH {picking} {marked}", values)}
        if not tasks:
            return []
        values |= {f"id{n}": pk for n, pk in enumerate(tasks)} | {"count": len(tasks)}
        these = ", ".join(f"%(id{n})s" for n in range(len(tasks)))
        source = f"{_TASK} AS marked WHERE id IN ({these})"
        cursor.execute(f"{_ATTEMPTS.format(marked=source)} {_CARRIED}", values)
        carried = dict(cursor.fetchall())
        cursor.execute(_EVENTS.format(marked=source, data="%(data)s"), values)
        if any(task.asked for task in tasks.values()):
            cursor.execute(_SET_ASIDE.format(marked=source, asked="AND"), values)
        cursor.execute(f"{_COUNT.format(count='%(count)s')} {_STOPS}", values)
    return [Grant(task, _checkpoint(carried[pk])) for pk, task in tasks.items()]


def _checkpoint(stored: str | None) -> Any:
    return None if stored is None else json.loads(stored)


def _pick(wish: Wish, params: dict[str, Any], *, lock: bool = True) -> str:
    """Return the common table expressions that end in `pick (picked)`; adds to `params`."""
    cut = partial(_cut, locking=lock)
    # Only a task with a later `not_before` stands further back: the index leaves it out.
    fits = f"instance_id = %(instance)s AND queue_at <= %(soon)s AND {claimable_sql()}"
    if wish.task_id is not None:
        return cut(f"{fits} AND id = %(task)s", skip=False)
    if wish.capabilities is not None:
        able, params["able"] = engine().only_words("capability_keys", "%(able)s", wish.capabilities)
        fits += f" AND {able}"
    if wish.tags:
        tagged, params["tags"] = engine().any_word("tag_keys", "%(tags)s", wish.tags)
        fits += f" AND {tagged}"
    column = "kind_key" if wish.tags else "cap_key"
    keys = None if wish.capabilities is None and not wish.tags else _keys(wish, column)
    if keys is None or len(keys) > _MAX_PROBES:
        return cut(fits)
    params |= {f"key{n}": key for n, key in enumerate(keys)}
    if len(keys) < 2:
        return cut(f"{fits} AND {column} = %(key0)s" if keys else f"{fits} AND 1 = 0")
    # Each kind has its own range of the index, so tasks that do not fit are not read.
    probes = " UNION ALL ".join(
        f"SELECT * FROM (SELECT id FROM {_TASK} WHERE {fits} AND {column} = %(key{n})s"
        f" ORDER BY {CLAIM_ORDER_SQL} LIMIT %(near)s) probe{n}"
        for n in range(len(keys))
    )
    # CROSS JOIN, so that SQLite reads the found rows first and not the whole queue.
    near = f"near (found) AS {engine().once} ({probes}), "
    return near + cut(f"{fits} AND id = found", source=f"near CROSS JOIN {_TASK}")


def _cut(fits: str, *, source: str = _TASK, skip: bool = True, locking: bool = True) -> str:
    """Return `pick`: the first fitting tasks, locked, as many as there is room for."""
    lock = engine().locking(_TASK, skip=skip) if locking else ""
    room = f"{engine().least}(%(limit)s, abs(%(most)s - {_ROOM}))"
    return f"""pick (picked) AS {engine().once} (SELECT id FROM {source}
        WHERE {fits} AND {_CLAIMING} AND {_ROOM} < %(most)s
        ORDER BY {CLAIM_ORDER_SQL} LIMIT {room} {lock})"""


def _keys(wish: Wish, column: str) -> list[str] | None:
    """Return the keys of the kinds in the queue that may fit the worker; None for too many.

    Steps from key to key through the index. The cost grows with the kinds, not with the tasks.
    """
    with connection.cursor() as cursor:
        cursor.execute(_kinds(column, _MAX_KINDS + 1), {"instance": wish.instance_id})
        keys = [str(key) for (key,) in cursor.fetchall()]
    return None if len(keys) > _MAX_KINDS else [key for key in keys if _may_fit(key, wish)]


def _kinds(column: str, most: int) -> str:
    """Return the statement that steps from key to key through the index of the column."""
    next_key = f"""SELECT min({column}) FROM {_TASK} WHERE instance_id = %(instance)s
        AND {condition_sql(Task.objects.in_queue())}"""
    return f"""WITH RECURSIVE present (found) AS (
            {next_key}
            UNION ALL
            SELECT ({next_key} AND {column} > present.found) FROM present WHERE found IS NOT NULL)
        SELECT found FROM present WHERE found IS NOT NULL LIMIT {most}"""


def _may_fit(key: str, wish: Wish) -> bool:
    """Return whether tasks with this key may fit the worker. The statement checks each task."""
    if key == UNREAD:
        return True
    needed, _, tags = (set(filter(None, words.split("\n"))) for words in key.partition("\f"))
    able = wish.capabilities is None or needed <= set(wish.capabilities)
    return able and (not wish.tags or not tags.isdisjoint(wish.tags))


def free_places(instance_id: str, most: int) -> int:
    """Return how many further leases the instance may grant now."""
    running = InstanceLoad.objects.values_list("running", flat=True).get(pk=instance_id)
    return max(0, most - int(running))


def why_nothing(wish: Wish, now: datetime) -> dict[str, str] | None:
    """Return why a claim got no task although there is room: {code, detail} (R22).

    None if a task fits: then another claim or report holds that task at this moment.
    """
    waiting = Task.objects.filter(instance_id=wish.instance_id, status=T.PENDING)
    if _anything_fits(wish, now):
        return None
    if _anything_fits(replace(wish, capabilities=None, tags=None), now):
        return {"code": "NothingFits", "detail": "tasks are ready, but none fits this worker"}
    count = waiting.count()
    if count:
        return {
            "code": "NothingReady",
            "detail": f"{counted(count, 'task', 'waits', 'wait')} here, not ready to be claimed",
        }
    return {"code": "Empty", "detail": "the queue is empty"}


def _anything_fits(wish: Wish, now: datetime) -> bool:
    """Return whether a task could be granted without locks and with all slots free."""
    params = _searching(replace(wish, limit=1), _BOUNDLESS) | _at(now)
    with connection.cursor() as cursor:
        cursor.execute(f"WITH {_pick(wish, params, lock=False)} SELECT 1 FROM pick", params)
        return cursor.fetchone() is not None
