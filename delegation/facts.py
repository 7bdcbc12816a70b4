"""Reading the situation of a decision: task, holder and candidates, without locks (R9)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache

from delegation.delegation_history import DelegationHistory
from delegation.models import TaskDelegation
from hopper.actors import ROUTER
from hopper.config.files import CONFIGURATION, Snapshot
from hopper.database import engine
from hopper.database.functions import Function
from instances.allowances import Standing
from instances.choices import InstanceStatus
from instances.models import HopperInstance, Task
from instances.tree.reads import capabilities_below
from instances.tree.surroundings import Seen, Surroundings, configured, surrounding
from scopes.decisions import InstanceFacts, Situation, TaskFacts
from scopes.rules.matchers import MAX_TEXT

_AN_HOUR = timedelta(hours=1)

_LAST_OFFER = f"""SELECT max(delegated_at) FROM {TaskDelegation._meta.db_table}
    WHERE target_instance_id = here.id"""  # noqa: S608


def surveying() -> Function:
    """Return the function by which the database reads the surroundings of an instance."""
    return surrounding(_LAST_OFFER)


def around(instance_id: str, *, children: bool = True) -> Surroundings:
    """Read an instance with its surroundings; the moment of each is its last offer."""
    return Surroundings.of(instance_id, children=children, moment=_LAST_OFFER)


def facts_of(task: Task) -> TaskFacts:
    """Return the facts about a task for a behaviour."""
    return TaskFacts(
        id=task.pk,
        title=task.title,
        # Only the recorded facts: a decision from other facts could not be repeated.
        description=task.description[:MAX_TEXT],
        project=task.project,
        tags=tuple(task.tags),
        priority=task.priority,
        required_capabilities=tuple(task.required_capabilities),
        task_type=task.task_type,
        complexity=task.complexity,
        executor_preference=task.executor_preference,
        owner=task.owner,
        requester=task.requester,
        source=task.source,
    )


def situation_of(task: Task, holder: HopperInstance, history: DelegationHistory) -> Situation:
    """Return the situation of a decision about `task`, which has this history, at `holder`."""
    return situation_for(facts_of(task), around(holder.pk), history.barred)


def situation_for(task: TaskFacts, here: Surroundings, barred: Mapping[str, str]) -> Situation:
    """Return the situation of a decision, also for a task that does not exist yet.

    `here` stands around the holder; `barred` gives the reason code of each instance that R10 bars.
    One query for a task that requires capabilities, else none.
    """
    own, terminated = here.own, InstanceStatus.TERMINATED
    can = _capabilities(here)
    below = capabilities_below(own.id, can) if task.required_capabilities else {}
    live = [child for child in here.children if child.status != terminated]
    return Situation(
        task=task,
        instance=_facts(here, own, can, below),
        candidates=tuple(
            _facts(here, child, can, below, barred.get(child.id, "")) for child in live
        ),
        terminated_names=frozenset(
            word
            for child in here.children
            if child.status == terminated
            for word in (child.id, child.name)
        ),
        created_last_hour=sum(
            (engine().moment(child.created_at) or here.now) > here.now - _AN_HOUR
            for child in here.children
            if child.created_by_id == ROUTER.id
        ),
    )


def instance_facts(here: Surroundings) -> InstanceFacts:
    """Return the facts about one instance for a behaviour that answers an offer (R8)."""
    return _facts(here, here.own, _capabilities(here), {})


def _capabilities(here: Surroundings) -> frozenset[str]:
    """Return the instance's own capabilities, or those of the nearest above that states any."""
    stated = (configured(row).stated for row in reversed(here.line))
    return next((words for words in stated if words is not None), frozenset())


def _facts(
    here: Surroundings,
    row: Seen,
    inherited: frozenset[str],
    below: Mapping[str, frozenset[str]],
    barred: str = "",
) -> InstanceFacts:
    line = here.line if row is here.own else [*here.line, row]
    return _made(
        row,
        inherited,
        below.get(row.id, frozenset()),
        Standing.along(line).effective,
        here.unfinished[row.id],
        len(line),
        barred,
        CONFIGURATION.current(),
    )


@lru_cache(maxsize=4096)
def _made(
    row: Seen,
    inherited: frozenset[str],
    below: frozenset[str],
    effective_status: str,
    open_tasks: int,
    level: int,
    barred: str,
    _files: Snapshot,
) -> InstanceFacts:
    """Return the facts about an instance. From one decision to the next most are the same."""
    config = configured(row)
    is_own = row.height == 0
    can = inherited if is_own or config.stated is None else config.stated
    return InstanceFacts(
        id=row.id,
        name=row.name,
        name_key=row.name_key,
        scope=row.scope,
        effective_status=effective_status,
        capabilities=can,
        subtree_capabilities=can | below,
        domains=config.domains,
        settings=config.settings,
        own=config.own,
        queued=row.waiting,
        running=row.running,
        open_tasks=open_tasks,
        last_assigned_at=engine().moment(row.moment),
        barred=barred,
        started_at=engine().moment(row.started_at),
        level=level,
    )
