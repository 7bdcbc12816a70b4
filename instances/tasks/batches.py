"""Many reports in one call, and the next claim with them (R17, R20, R22)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from hopper import database
from hopper.actors import Actor
from hopper.errors import AlreadyEnded, Gone, HopperError, LeaseLost, NotFound
from instances.choices import TaskStatus as T
from instances.models import Task
from instances.tasks.changes import gathered, lock_counters, lock_tasks
from instances.tasks.complete_sql import Done, complete_plain
from instances.tasks.leases import keep_artifact
from instances.tasks.worker import (
    Claim,
    Lease,
    claim_next,
    complete_and_claim_at_once,
    complete_locked,
)
from instances.tree.locks import share_lines


@dataclass(frozen=True)
class Verdict:
    """The answer to one report: the status of the task, None if unknown, or the refusal."""

    task_id: str
    status: str | None
    refusal: HopperError | None = None


def complete_tasks(
    reports: Sequence[Done],
    *,
    refused: Mapping[int, HopperError] | None = None,
    actor: Actor,
) -> list[Verdict]:
    """Finish tasks. Each report is judged on its own, in its order, as `complete_task` judges it.

    A refused report changes nothing and does not hold up the others. `refused` are the reports, by
    index, that the caller may not make.
    """
    return _complete(reports, _judged(reports, refused or {}, actor), (), actor)


def _judged(
    reports: Sequence[Done],
    refused: Mapping[int, HopperError],
    actor: Actor,
    at: str | None = None,
) -> dict[int, Verdict]:
    """Return the verdicts by index on refused reports, and on plain tasks, which end (ADR 0015)."""
    verdicts = {
        index: Verdict(reports[index].task_id, None, refusal) for index, refusal in refused.items()
    }
    others: dict[str, int] = {}
    for index, one in enumerate(reports):
        if index not in verdicts:
            others.setdefault(one.task_id, index)
    ended = complete_plain([reports[index] for index in others.values()], actor, at=at)
    return verdicts | {others[pk]: Verdict(pk, T.DONE) for pk in ended}


def _complete(
    reports: Sequence[Done],
    judged: Mapping[int, Verdict],
    also_counted: Collection[str],
    actor: Actor,
) -> list[Verdict]:
    """Finish tasks in one transaction, but those that are `judged`, by index.

    `also_counted` names an instance whose counter the caller changes afterwards in the transaction.
    """
    verdicts = dict(judged)
    permitted = {index: one for index, one in enumerate(reports) if index not in verdicts}
    if not permitted:
        return [verdicts[index] for index in range(len(reports))]
    with transaction.atomic():
        share_lines()
        tasks = {task.pk: task for task in lock_tasks({one.task_id for one in permitted.values()})}
        _lock_counters_first(tasks, also_counted)
        now = database.now()
        for number, some in enumerate(_rounds(permitted, tasks)):
            if number:
                # The round before may have changed relatives of these tasks.
                tasks = Task.objects.in_bulk([reports[index].task_id for index in some])
            with gathered():
                for index in some:
                    report = reports[index]
                    verdicts[index] = _judge(report, tasks.get(report.task_id), actor, now)
        for index, one in permitted.items():
            if isinstance(verdicts[index].refusal, LeaseLost | Gone | AlreadyEnded):
                keep_artifact(one.task_id, one.token, one.result)
    return [verdicts[index] for index in range(len(reports))]


def complete_and_claim(
    reports: Sequence[Done],
    instance_id: str,
    *,
    refused: Mapping[int, HopperError] | None = None,
    actor: Actor,
    **wish: Any,
) -> tuple[list[Verdict], Claim]:
    """Finish tasks and claim the next ones; `wish` as for `claim_next`.

    The reports count even where nothing can be claimed: the claim then gives the reason.
    """
    leases: list[Lease] = []
    if refused or (at_once := _at_once(reports, instance_id, wish, actor)) is None:
        judged = _judged(reports, refused or {}, actor, instance_id)
    else:
        judged, leases = at_once
    if leases:
        return _complete(reports, judged, (), actor), Claim(leases)
    if len(judged) == len(reports):
        # The ends are committed, so the claim needs none of their locks.
        return _complete(reports, judged, (), actor), _claim(instance_id, wish, actor)
    with transaction.atomic():
        verdicts = _complete(reports, judged, [instance_id], actor)
        return verdicts, _claim(instance_id, wish, actor)


def _at_once(
    reports: Sequence[Done], instance_id: str, wish: Mapping[str, Any], actor: Actor
) -> tuple[dict[int, Verdict], list[Lease]] | None:
    """Return the verdicts by index on the tasks that end, and the leases if all of them do."""
    if len({one.task_id for one in reports}) < len(reports):
        return None
    answer = complete_and_claim_at_once(reports, instance_id, **wish, actor=actor)
    if answer is None:
        return None
    ended, leases = answer
    done = [index for index, one in enumerate(reports) if one.task_id in ended]
    return {index: Verdict(reports[index].task_id, T.DONE) for index in done}, leases


def _claim(instance_id: str, wish: Mapping[str, Any], actor: Actor) -> Claim:
    try:
        # One try: a pause would hold the locks of the finished tasks.
        return claim_next(instance_id, **wish, tries=1, actor=actor)
    except HopperError as refusal:
        return Claim([], {"code": refusal.code, "detail": refusal.detail})


def _judge(report: Done, task: Task | None, actor: Actor, now: datetime) -> Verdict:
    if task is None:
        return Verdict(report.task_id, None, NotFound(f"There is no task {report.task_id}."))
    try:
        complete_locked(task, token=report.token, result=report.result, actor=actor, now=now)
    except HopperError as refusal:
        return Verdict(task.pk, task.status, refusal)
    return Verdict(task.pk, task.status)


def _rounds(reports: Mapping[int, Done], tasks: Mapping[str, Task]) -> list[list[int]]:
    """Return the indexes of the reports in rounds, with at most one report for a tree in each.

    A round is written at once. An end may change the relatives of its task, so the reports for a
    tree follow one another.
    """
    rounds: defaultdict[int, list[int]] = defaultdict(list)
    seen: Counter[str] = Counter()
    for index, report in reports.items():
        task = tasks.get(report.task_id)
        tree = task.root_id if task is not None else report.task_id
        rounds[seen[tree]].append(index)
        seen[tree] += 1
    return [rounds[number] for number in sorted(rounds)]


def _lock_counters_first(tasks: Mapping[str, Task], also: Collection[str]) -> None:
    """Lock the counters first where the ends would take them in another order than R6.

    The end of the block releases the slots in order. A parent's end, a second round and a claim at
    another instance take counters after that.
    """
    roots = {task.root_id for task in tasks.values()}
    holders = {task.instance_id for task in tasks.values() if task.has_live_lease}
    if roots != tasks.keys() or not holders <= set(also or holders):
        lock_counters(Task.objects.filter(pk__in=list(tasks)), also)
