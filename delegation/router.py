"""The InstanceRouter: the next instance for a task, and possible targets. Reads only."""

from __future__ import annotations

from collections import Counter
from typing import Any

from delegation.delegation_history import DelegationHistory
from delegation.facts import around, facts_of, instance_facts, situation_for, situation_of
from delegation.models import TaskDelegation
from delegation.offer_rules import over_hop_limit
from hopper.config.files import CONFIGURATION
from hopper.config.registry import effective_settings
from hopper.errors import Conflict
from instances.allowances import ROUTING, Standing
from instances.choices import InstanceStatus
from instances.models import HopperInstance, Task
from instances.tasks.changes import present_task
from instances.tree.reads import effective_statuses
from instances.tree.surroundings import Surroundings
from scopes.deciding import answer, decide, get_behavior_for_instance, path_of
from scopes.decisions import Decision, Refuse, SendTo, Situation, Stay, TaskFacts, described
from scopes.record import Decided
from scopes.settings import scopes_below

MAX_HOPS = 40
"""The most hops of placing in one request, and of a preview. The sweep makes further hops."""


class InstanceRouter:
    """Answers questions about routing. Moves no task. Placing carries the answers out."""

    def decide(
        self,
        task: Task,
        source: HopperInstance,
        history: DelegationHistory | None = None,
        here: Surroundings | None = None,
    ) -> Decided | None:
        """Return the decision of `source` about the task now (R9), None where R3 forbids routing.

        `history` holds the delegations of the task and `here` what stands around `source`, where
        the caller has just read them. Raises BehaviorFailed.
        """
        history = history or DelegationHistory.of(task)
        if here is not None:
            situation = situation_for(facts_of(task), here, history.barred)
        else:
            situation = situation_of(task, source, history)
        if not situation.instance.standing.may("route"):
            return None
        return self.decide_from(situation, source)

    def decide_from(self, situation: Situation, source: HopperInstance) -> Decided:
        """Return the decision of `source` in a situation, also for a task that is only planned."""
        behavior = get_behavior_for_instance(source)
        return Decided(situation, decide(behavior, situation), path_of(behavior))

    def find_target_instance(self, task: Task, source: HopperInstance) -> HopperInstance | None:
        """Return the child to which placing would offer the task now, or None."""
        decided = self.decide(task, source)
        if decided is None or not isinstance(decided.decision, SendTo):
            return None
        return HopperInstance.objects.filter(pk=decided.decision.target_id).first()

    def can_delegate_to(
        self, source: HopperInstance, target: HopperInstance, standing: Standing | None = None
    ) -> bool:
        """Return whether placing may offer a task of `source` to `target` now.

        This needs a child of a scope that the policy allows (R1), and R3 must allow offers that do
        not name the child. `standing` is the target's, where the caller has just read it.
        """
        settings = effective_settings(source.scope, source.config)
        if target.parent_id != source.pk or target.scope not in scopes_below(
            source.scope, settings
        ):
            return False
        return (standing or target.standing()).may("offer")

    def get_available_instances(self, scope: str) -> list[HopperInstance]:
        """Return the instances of a scope that are effectively running, oldest first (R4).

        For programs that look for targets by themselves. Placing does not call this: it reads the
        children of one holder.
        """
        running = HopperInstance.objects.filter(scope=scope).running().order_by("created_at", "pk")
        effective = effective_statuses(one.pk for one in running)
        return [one for one in running if effective[one.pk] == InstanceStatus.RUNNING]


def preview_route(task_id: str) -> list[dict[str, Any]]:
    """Return the decisions that routing a task again from its holder would make now, in order.

    Rerouting begins an epoch, so instances that refused before may get an offer again. Raises
    Conflict for an unassigned task: without a holder there is no behaviour.
    """
    task = present_task(task_id)
    if task.instance is None:
        raise Conflict(f"{task_id} is unassigned: nobody decides for it.", state=task.status)
    hops = TaskDelegation.objects.chain(task_id).values_list("source_instance_id", flat=True)
    return preview_task(facts_of(task), task.instance, [str(source) for source in hops if source])


def preview_task(
    task: TaskFacts, start: HopperInstance, path: list[str] | None = None
) -> list[dict[str, Any]]:
    """Return the decisions that placing would make about a task, from `start` on.

    `path` names the instances it has come through. Each decision is {instance_id, verdict, code,
    target_id, reasons, candidates, rules, rule, confidence, answer, answer_reason}; `answer` is
    what the target would say: accept, wait or refuse, "" where nobody is asked.
    """
    walk = _Walk(task, start, list(path or ()))
    with CONFIGURATION.held():
        while len(walk.found) < MAX_HOPS and walk.go_on():
            pass
    return walk.found


class _Walk:
    """The simulated route of a task: its present instance, and the instances passed over."""

    def __init__(self, task: TaskFacts, start: HopperInstance, path: list[str]) -> None:
        self.task, self.at, self.path = task, start, path
        self.excluded: set[str] = set()
        self.asked: Counter[str | None] = Counter()
        self.found: list[dict[str, Any]] = []

    def go_on(self) -> bool:
        """Decide at the present instance, note the decision, go on. Return whether to continue."""
        decision = self._decide()
        note = {"instance_id": self.at.pk, **described(decision), "answer": "", "answer_reason": ""}
        self.found.append(note)
        if isinstance(decision, SendTo):
            return self._down(decision.target_id, note)
        if isinstance(decision, Refuse):
            return self._up(decision)
        return False

    def _decide(self) -> Decision:
        standing = self.at.standing()
        if self.at.scope in ROUTING and not standing.may("route"):
            words = f"{self.at.pk} is {standing.effective} and routes nothing now"
            return Stay((words,), code="Routing")
        barred = dict.fromkeys(self.excluded, "excluded") | dict.fromkeys(self.path, "on_path")
        situation = situation_for(self.task, around(self.at.pk), barred)
        return InstanceRouter().decide_from(situation, self.at).decision

    def _down(self, target_id: str, note: dict[str, Any]) -> bool:
        target = HopperInstance.objects.get(pk=target_id)
        over = over_hop_limit(self.at, self.asked)
        if over:
            note |= {"verdict": "refuse", "code": "HopLimit", "target_id": ""}
            note["answer_reason"] = over
            return False
        self.asked[self.at.pk] += 1
        facts = instance_facts(around(target_id, children=False))
        answered = answer(get_behavior_for_instance(target), self.task, facts)
        note |= {"answer": answered.verdict, "answer_reason": answered.reason}
        if answered.verdict == "refuse":
            self.excluded.add(target_id)
            return True
        if answered.verdict == "wait":
            return False
        self.path.append(self.at.pk)
        self.at = target
        return target.scope in ROUTING

    def _up(self, decision: Refuse) -> bool:
        """Escalate like placing: only a running level accepts at once (R9, R11)."""
        if not decision.goes_up or not self.path:
            return False
        self.excluded.add(self.at.pk)
        self.at = HopperInstance.objects.get(pk=self.path.pop())
        return self.at.standing().may("accept")
