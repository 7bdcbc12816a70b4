"""Carrying out a plain decision by one call of a function (R9); else `placing` does it.

A decision is plain if the task stands alone, all its delegations are accepted hops of this epoch,
and it has no question. It lets the task rest, or sends it to a child that accepts as the shipped
behaviours do, where all from the root to the child run. The functions lock as R6 says, look again,
and write the rows that `make_offer`, `accept_offer`, `amend_task` and `decision_row` write.
"""

# ruff: noqa: S608 - what is put into the statements is named here; values are parameters

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from datetime import timedelta
from functools import cache, partial
from typing import Any, NamedTuple

from delegation.choices import DelegationStatus as D
from delegation.delegation_history import Reading
from delegation.facts import surveying
from delegation.models import TaskDelegation
from delegation.offer_rules import over_hop_limit
from hopper.actors import Actor
from hopper.conditions import has_condition
from hopper.database.functions import Function, as_json, inserting
from hopper.ids import new_id
from instances.allowances import ROUTING
from instances.choices import InstanceStatus as I, TaskStatus as T
from instances.models import Event, HopperInstance, Task, halted
from instances.tasks.wakeups import WAKEUPS
from instances.tree import open_counts
from instances.tree.surroundings import Surroundings
from scopes.behaviors.base import ScopeBehavior
from scopes.deciding import answer, get_behavior_for_scope
from scopes.decisions import InstanceFacts, TaskFacts
from scopes.models import RoutingDecision

_TASK = Task._meta.db_table
_INSTANCE = HopperInstance._meta.db_table
_DELEGATION = TaskDelegation._meta.db_table
_DECISION = RoutingDecision._meta.db_table
_ROUTING = ", ".join(f"'{scope.value}'" for scope in sorted(ROUTING))


class Plain(NamedTuple):
    """A decision about a task as it was read, with its record (`decision_json`)."""

    read: Reading
    facts: TaskFacts
    record: Mapping[str, str]
    actor: Actor

    def values(self) -> dict[str, Any]:
        """Return the arguments of both functions."""
        return {
            **self.record,
            "read_at": self.read.at,
            "known": len(self.read.history.rows),
            "actor_id": self.actor.id,
        }


def is_plain(read: Reading) -> bool:
    """Return whether the database can carry out a decision about the task at once."""
    task, rows = read.task, read.history.rows
    if task.parent_id or task.decomposed or task.asked or task.return_to_id:
        return False
    own = all(map(partial(_is_hop, task), rows)) and not has_condition(Task, task.pk)
    return own and hopping().is_kept() and resting().is_kept()


def _is_hop(task: Task, row: TaskDelegation) -> bool:
    return row.status == D.ACCEPTED and row.epoch == task.epoch and not row.goes_up


def rest_at_once(plain: Plain) -> bool:
    """Let a plain task rest. Returns False and changes nothing where a row has changed since."""
    if not resting().call("moment", **plain.values()):
        return False
    WAKEUPS.wake_after_commit([str(plain.read.task.instance_id)])
    return True


def hop_at_once(plain: Plain, target: InstanceFacts) -> Reading | None:
    """Make a plain hop and return the task. Returns None and changes nothing for any other hop.

    The function looks again under locks at the task, its delegations, the target and its room.
    Placing decides again where one of these has changed.
    """
    read, settings = plain.read, target.settings
    if not _is_accepted(plain, target):
        return None
    offer = _offer(plain, target)
    values = {
        **plain.values(),
        "offer": as_json(offer),
        "config": target.config,
        "room": int(settings["max_queued_tasks"]),
        "answer_in": timedelta(seconds=int(settings["offer_seconds"])),
    }
    told = ("moment", "seen", "present")
    for holder, (moment, seen, now) in hopping().rows(HopperInstance, "holder", *told, **values):
        task = copy(read.task)
        task.instance = holder
        task.waiting, task.route_due, task.updated_at = {}, holder.scope in ROUTING, moment
        task.remember(task.changed_fields())
        if not task.route_due:
            WAKEUPS.wake_after_commit([target.id])
        here = Surroundings.told(seen, now) if seen else None
        return Reading(task, read.history.with_row(offer), moment, here)
    return None


def _is_accepted(plain: Plain, target: InstanceFacts) -> bool:
    """Return whether the holder may make the offer, and a shipped behaviour accepts it."""
    holder = plain.read.task.instance
    if holder is None or over_hop_limit(holder, plain.read.history.made):
        return False
    behavior = get_behavior_for_scope(target.scope)
    shipped = type(behavior).answer is ScopeBehavior.answer
    return shipped and answer(behavior, plain.facts, target).verdict == "accept"


def _offer(plain: Plain, target: InstanceFacts) -> TaskDelegation:
    task, by = plain.read.task, plain.actor.name
    return TaskDelegation(
        id=new_id("del"),
        task_id=task.pk,
        source_instance_id=task.instance_id,
        target_instance_id=target.id,
        status=D.ACCEPTED,
        hop=plain.read.history.next_number,
        epoch=task.epoch,
        delegated_by=by,
        answered_by=by,
    )


_READ = f"""decision := jsonb_populate_record(NULL::{_DECISION}, %(told)s || %(decision)s);
    decision.situation := %(situation)s"""
_LOCK = f"""SELECT * INTO t FROM {_TASK}
    WHERE id = decision.task_id AND root_id = decision.task_id FOR NO KEY UPDATE"""
_MOVED = f"""t.id IS NULL OR NOT t.route_due OR t.decomposed OR t.asked > 0
    OR t.return_to_id IS NOT NULL OR t.epoch <> decision.epoch
    OR t.instance_id <> decision.instance_id
    OR (SELECT count(*) <> %(known)s OR count(*) FILTER (WHERE status = '{D.ACCEPTED.value}')
        <> %(known)s FROM {_DELEGATION} WHERE task_id = decision.task_id)"""
_CHANGED = f"""place.parent_id IS DISTINCT FROM decision.instance_id
    OR place.updated_at > %(read_at)s
    OR place.config IS DISTINCT FROM %(config)s
    OR {halted("place.id")}"""
# The count of open tasks saves the walk along a queue that has room.
_FULL = f"""(SELECT sum(tasks) FROM {open_counts.TABLE} WHERE instance_id = place.id) >= %(room)s
    AND EXISTS (SELECT FROM {_TASK}
        WHERE instance_id = place.id AND status = '{T.PENDING.value}' OFFSET %(room)s - 1)"""
_BEGAN = f"""EXISTS (SELECT FROM {_INSTANCE} top JOIN {_INSTANCE} below
        ON below.tree_id = top.tree_id AND below.lft > top.lft AND below.rght < top.rght
    WHERE top.id = decision.instance_id AND below.status = '{I.RUNNING.value}'
        AND below.updated_at > %(read_at)s)"""
_RECORD = f"""decision.created_at := moment;
    {inserting(RoutingDecision, "decision")}"""
_TELL = f"""INSERT INTO {Event._meta.db_table} (kind, at, actor, actor_id, task_id, instance_id,
    delegation_id, epoch, attempt, before, status, holder_id, ending, data)
    SELECT kind, moment, decision.actor, %(actor_id)s, t.id, at, {{offer}}, t.epoch, t.attempt,
        t.status, t.status, at, FALSE, data
    FROM (VALUES {{told}}) told (kind, at, data)"""
_HOP = _TELL.format(
    offer="offer.id",
    told="""('delegation.offered', decision.instance_id, jsonb_build_object('to', place.id)),
        ('delegation.accepted', place.id, '{}')""",
)
_REST = _TELL.format(
    offer="''",
    told="""('task.resting', decision.instance_id,
        jsonb_build_object('code', decision.code, 'reasons', decision.reasons))""",
)
_ARGUMENTS = {
    **{name: "jsonb" for name in ("decision", "told", "situation")},
    "known": "integer",
    "read_at": "timestamptz",
    "actor_id": "text",
}


@cache
def resting() -> Function:
    """Return the function that lets a plain task rest; no row where it has to be looked at again.

    Nothing below the holder may have begun to run since the task was read (R9).
    """
    return Function(
        title="rest",
        arguments=_ARGUMENTS,
        returns="TABLE (moment timestamptz)",
        variables=f"t {_TASK}; decision {_DECISION};",
        body=f"""
            {_READ};
            {_LOCK};
            IF {_MOVED} OR {_BEGAN} THEN RETURN; END IF;
            moment := clock_timestamp();
            {_RECORD};
            UPDATE {_TASK} SET route_due = FALSE, updated_at = greatest(moment, updated_at),
                waiting = CASE WHEN waiting ->> 'code' > '' THEN waiting ELSE '{{}}' END
                WHERE id = t.id;
            {_REST};
            RETURN NEXT;""",
    )


@cache
def hopping() -> Function:
    """Return the function that makes a plain hop; no row where the hop is not plain.

    It also returns what stands around the target, where the target decides next.
    """
    return Function(
        title="hop",
        arguments={
            **_ARGUMENTS,
            "offer": "jsonb",
            "config": "jsonb",
            "room": "integer",
            "answer_in": "interval",
        },
        returns="""TABLE (holder json, moment timestamptz, seen text,
            present timestamptz)""",
        variables=f"place {_INSTANCE}; t {_TASK}; offer {_DELEGATION}; decision {_DECISION};",
        body=f"""
            {_READ};
            SELECT * INTO place FROM {_INSTANCE} WHERE id = decision.target_id FOR SHARE;
            {_LOCK};
            IF {_MOVED} OR {_CHANGED} OR {_FULL} THEN RETURN; END IF;
            moment := clock_timestamp();
            offer := jsonb_populate_record(NULL::{_DELEGATION}, %(offer)s);
            offer.delegated_at := moment;
            offer.accepted_at := moment;
            offer.expires_at := moment + %(answer_in)s;
            {inserting(TaskDelegation, "offer")};
            {_RECORD};
            UPDATE {_TASK} SET instance_id = place.id, route_due = place.scope IN ({_ROUTING}),
                waiting = '{{}}', updated_at = greatest(moment, updated_at)
                WHERE id = t.id;
            {_HOP};
            IF place.scope IN ({_ROUTING}) THEN
                SELECT * INTO seen, present FROM {surveying().name}(place.id, place.id);
            END IF;
            holder := row_to_json(place);
            RETURN NEXT;""",
    )
