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
    nothing: frozenset[str] = frozenset()
    line, files = tuple(row.status for row in here.line), CONFIGURATION.current()
    return Situation(
        task=task,
        instance=_own_facts(here, can, below.get(own.id, nothing)),
        candidates=tuple(
            _facts(
                child,
                can,
                below.get(child.id, nothing),
                line,
                here.unfinished[child.id],
                barred.get(child.id, ""),
                files,
            )
            for child in here.children
            if child.status != terminated
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
    return _own_facts(here, _capabilities(here), frozenset())


def _own_facts(here: Surroundings, can: frozenset[str], below: frozenset[str]) -> InstanceFacts:
    own, above = here.own, tuple(row.status for row in here.line[:-1])
    return _facts(own, can, below, above, here.unfinished[own.id], "", CONFIGURATION.current())


def _capabilities(here: Surroundings) -> frozenset[str]:
    """Return the instance's own capabilities, or those of the nearest above that states any."""
    stated = (configured(row).stated for row in reversed(here.line))
    return next((words for words in stated if words is not None), frozenset())


@lru_cache(maxsize=4096)
def _facts(
    row: Seen,
    inherited: frozenset[str],
    below: frozenset[str],
    above: tuple[str, ...],
    open_tasks: int,
    barred: str,
    _files: Snapshot,
) -> InstanceFacts:
    """Return the facts about an instance. From one decision to the next most are the same.

    `above` holds the statuses of the instances above it, the root's first.
    """
    config = configured(row)
    is_own = row.height == 0
    can = inherited if is_own or config.stated is None else config.stated
    return InstanceFacts(
        id=row.id,
        name=row.name,
        name_key=row.name_key,
        scope=row.scope,
        effective_status=Standing.under(above, row.status),
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
        level=len(above) + 1,
        config=row.config,
    )
