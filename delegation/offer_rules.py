"""The rules of offers: the task, the target, and the acceptance (R3, R8, R10, R22)."""

from __future__ import annotations

from collections.abc import Mapping

from delegation.delegation_history import DelegationHistory
from hopper.config.registry import effective_settings
from hopper.counts import counted
from hopper.errors import AlreadyDelegated, Conflict, RuleBroken
from instances.allowances import queue_full
from instances.choices import PLACING_BLOCKS, TaskStatus as T
from instances.models import HopperInstance, Question, Task, lineages
from instances.queue_settings import queue_settings
from instances.tree.reads import waiting_at
from scopes.settings import MAX_OFFERS, scopes_below


def require_delegable(task: Task) -> None:
    """Raise Conflict unless the task is pending without an offer (R8)."""
    if task.offered_to_id is not None:
        raise AlreadyDelegated(
            f"{task.pk} is already offered to {task.offered_to_id}; withdraw that first.",
            offered_to=task.offered_to_id,
            state=task.status,
        )
    question = Question.objects.open_of(task)
    if question is not None and question.instance_id == task.instance_id:
        raise Conflict(
            f"{task.pk} waits for the answer to {question.pk}, which {task.instance_id} asked.",
            code="question_open",
            state=task.status,
        )
    by_placing = task.status == T.BLOCKED and task.waiting_code in PLACING_BLOCKS
    if task.status != T.PENDING and not by_placing:
        raise Conflict(
            f"{task.pk} is {task.status}: only a task at rest can be delegated"
            f"{'; retry it first' if task.is_terminal else ''}.",
            code="not_delegable",
            state=task.status,
            allowed=[T.PENDING.value],
        )


def require_fitting_target(task: Task, target: HopperInstance, *, force: bool, reason: str) -> None:
    """Raise unless `target` is a child of the holder and R3 and R10 allow an offer by name."""
    if task.instance is not None:
        if target.parent_id != task.instance_id:
            raise _not_a_child(task, target)
        _require_allowed_scope(task.instance, target)
        task.instance.standing().require("route")
    target.standing().require("offer")
    barred = DelegationHistory.of(task).barred.get(target.pk)
    if barred == "on_path":
        raise RuleBroken(f"{target.pk} is on the path of {task.pk} already (R10).", code="loop")
    if barred and not (force and reason):
        raise Conflict(
            f"{target.pk} has refused {task.pk} before; force with a reason asks it again (R10).",
            code="excluded",
            state=task.status,
        )


def over_hop_limit(holder: HopperInstance, asked: Mapping[str | None, int]) -> str:
    """Return why `holder` may make no further offer in this epoch, or "" if it may (R10).

    `asked` gives the number of the epoch's offers by source.
    """
    own = int(effective_settings(holder.scope, holder.config)["max_offers"])
    if asked.get(holder.pk, 0) >= own:
        return f"{counted(own, 'offer')} of {holder.pk} in this epoch"
    return f"{MAX_OFFERS} offers in this epoch" if sum(asked.values()) >= MAX_OFFERS else ""


def _require_allowed_scope(holder: HopperInstance, target: HopperInstance) -> None:
    settings = effective_settings(holder.scope, holder.config)
    allowed = scopes_below(holder.scope, settings)
    if target.scope not in allowed:
        raise RuleBroken(
            f"{holder.pk} may not hand work to a {target.scope} (delegate_to).",
            code="scope_not_allowed",
            allowed=sorted(allowed),
        )


def require_acceptance(target: HopperInstance) -> None:
    """Raise Conflict unless the target may accept by name (R3) and its queue has room (R22)."""
    standing = target.standing()
    standing.require("accept")
    waiting = waiting_at([target.pk]).get(target.pk, 0)
    most = queue_settings(target.scope, target.config).max_queued_tasks
    if full := queue_full(target.pk, waiting, most):
        raise Conflict(f"{full}.", code="queue_full", state=standing.effective)


def _not_a_child(task: Task, target: HopperInstance) -> RuleBroken:
    """Return the error for a target that is no child. The error names the next hop, if any."""
    holder_id = str(task.instance_id)
    lines = lineages([target.pk, holder_id])
    down = [ancestor.id for ancestor in lines[target.pk]]
    up = [ancestor.id for ancestor in lines[holder_id]]
    if holder_id in down and target.pk != holder_id:
        hop = down[down.index(holder_id) + 1]
        return RuleBroken(
            f"{target.pk} is no child of {holder_id}; the next hop towards it is {hop}.",
            code="not_a_child",
            next_hop=hop,
        )
    if target.pk in up and target.pk != holder_id:
        return RuleBroken(
            f"{target.pk} is above {holder_id}: escalate {task.pk} instead.",
            code="not_a_child",
        )
    return RuleBroken(
        f"{target.pk} is no child of {holder_id}, which holds {task.pk}.", code="not_a_child"
    )
