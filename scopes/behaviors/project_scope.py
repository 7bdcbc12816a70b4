"""PROJECT: decides between manual handling and an orchestration, then which one (R9)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hopper.config.registry import effective_settings
from hopper.words import key_of, keys_of
from instances.allowances import MAX_DEPTH, ROUTING
from instances.choices import ExecutorPreference, HopperScope, InstanceType
from scopes.behaviors.base import (
    ScopeBehavior,
    lacks,
    missing,
    rank,
    send_to_best,
    unless_refused,
    weigh,
    why_out,
)
from scopes.behaviors.explicit import decide_explicit
from scopes.decisions import (
    Considered,
    CreateChild,
    Decision,
    InstanceFacts,
    Refuse,
    Situation,
    Stay,
    TaskFacts,
)
from scopes.settings import scopes_below


class ProjectScopeBehavior(ScopeBehavior):
    """Chooses manual handling or an orchestration by complexity, type and executor."""

    def decide(self, situation: Situation) -> Decision:
        """Return the orchestration to use or create, or ManualQueue with the reason (R9)."""
        named_child = decide_explicit(situation, may_create=False)
        return named_child or self.decide_execution(situation)

    def decide_execution(self, situation: Situation) -> Decision:
        """Return the decision about a task that names no child project."""
        task, instance = situation.task, situation.instance
        runs = [one for one in situation.candidates if one.scope == HopperScope.ORCHESTRATION]
        weighed = [weigh(task, one, instance, {}, speaks=True) for one in runs]
        considered = unless_refused(weighed, instance)
        if task.executor_preference == ExecutorPreference.HUMAN:
            return Stay(("executor_preference is human",), tuple(considered), code="ManualQueue")
        reasons = reasons_for_execution(task, instance, runs)
        if not reasons:
            return self.handle_by_hand(situation, considered, "nothing calls for an orchestration")
        running = [one for one in considered if one.answers]
        ranked = rank(running)
        if ranked:
            words = f"{ranked[0].instance_id} has the least load, {ranked[0].load:g}"
            return send_to_best((*reasons, words), ranked, considered)
        against = why_no_new_run(situation, considered)
        if against:
            words = "no executor is available"
            reasons_now = (*reasons, words, *why_out(considered), f"no run is created: {against}")
            return self.handle_by_hand(situation, considered, *reasons_now, tried=True)
        name = next_run_name(situation)
        limit = instance.settings["max_orchestrations"]
        words = f"{name} is created, number {len(considered) + 1} of {limit}"
        return CreateChild(
            (*reasons, words),
            tuple(considered),
            name=name,
            scope=HopperScope.ORCHESTRATION,
            instance_type=InstanceType.EPHEMERAL,
        )

    def handle_by_hand(
        self,
        situation: Situation,
        considered: list[Considered],
        *reasons: str,
        tried: bool = False,
    ) -> Decision:
        """Return manual handling, unless a required capability is missing (R9).

        `tried`: an orchestration was wanted and none is left, so manual_fallback decides.
        """
        task, instance = situation.task, situation.instance
        gap = missing(task, instance.capabilities)
        if gap:
            words = f"{instance.id} lacks {', '.join(gap)}"
            return self.go_further_down(situation, considered, *reasons, words)
        if tried and not instance.settings["manual_fallback"]:
            words = "manual_fallback is off"
            return Refuse((*reasons, words), tuple(considered), code="Unroutable")
        return Stay(reasons, tuple(considered), code="ManualQueue")

    def go_further_down(
        self, situation: Situation, considered: list[Considered], *reasons: str
    ) -> Decision:
        """Return the child, not a run, that has the missing capability, or the refusal (R9).

        While a run that has the capability may still be asked, the task waits for the run.
        """
        task, instance = situation.task, situation.instance
        able = [one for one in situation.candidates if not lacks(task, one)]
        if any(one.scope == HopperScope.ORCHESTRATION and _may_be_asked(one) for one in able):
            able = []
        others = [one for one in able if one.scope in ROUTING]
        weighed = [weigh(task, one, instance, {}, speaks=True) for one in others]
        considered = unless_refused([*considered, *weighed], instance)
        ranked = rank(considered) if others else []
        if not ranked:
            return self.refuse_gap(situation, considered, *reasons, *why_out(weighed))
        words = f"{ranked[0].instance_id}, or what is below it, has all that is required"
        return send_to_best((*reasons, words), ranked, considered)

    def refuse_gap(
        self, situation: Situation, considered: list[Considered], *reasons: str
    ) -> Refuse:
        """Return the refusal for a capability that no instance below can offer now."""
        code = "CapabilityGap" if lacks(situation.task, situation.instance) else "Unroutable"
        return Refuse(reasons, tuple(considered), code=code)


def _may_be_asked(run: InstanceFacts) -> bool:
    return not run.barred and run.standing.may("offer")


def reasons_for_execution(
    task: TaskFacts, instance: InstanceFacts, runs: list[InstanceFacts]
) -> tuple[str, ...]:
    """Return the reasons to send the task down (R9); an empty list means manual handling."""
    settings, found = instance.settings, []
    if task.executor_preference == ExecutorPreference.ORCHESTRATION:
        found.append("executor_preference is orchestration")
    threshold = settings["orchestration_threshold"]
    if task.complexity is not None and task.complexity >= threshold:
        found.append(f"complexity {task.complexity} reaches {threshold}")
    if task.task_type and key_of(task.task_type) in keys_of(settings["automatable_types"]):
        found.append(f"task_type {task.task_type} is automatable")
    gap = missing(task, instance.capabilities)
    if gap and any(not lacks(task, run) for run in runs):
        found.append(f"only an orchestration has {', '.join(gap)}")
    return tuple(found)


def why_no_new_run(situation: Situation, considered: Sequence[Considered]) -> str:
    """Return the reason against creating a run (R25), or "" if a run is allowed and would help."""
    instance, settings = situation.instance, situation.instance.settings
    if not settings["create_orchestrations"]:
        return "create_orchestrations is off"
    if HopperScope.ORCHESTRATION not in scopes_below(instance.scope, settings):
        return "delegate_to leaves orchestrations out"
    if len(considered) >= settings["max_orchestrations"]:
        return f"there are {len(considered)} of at most {settings['max_orchestrations']}"
    if instance.level >= MAX_DEPTH:
        return f"{instance.id} stands on the last of {MAX_DEPTH} levels"
    if any(one.filters["loops"] == "excluded" for one in considered):
        return "a run here refused the task"
    if not effective_settings(HopperScope.ORCHESTRATION, {})["max_queued_tasks"]:
        return "its queue would take nothing"
    gap = missing(situation.task, instance.capabilities)
    return f"it would lack {', '.join(gap)}" if gap else ""


def next_run_name(situation: Situation) -> str:
    """Return the next free `<project>-run-001` among live and terminated children."""
    stem = f"{situation.instance.id[:80]}-run-"
    taken = {word for one in situation.candidates for word in (one.id, one.name)}
    pattern = re.compile(rf"{re.escape(stem)}(\d+)")
    numbers = [
        int(found[1])
        for word in taken | situation.terminated_names
        if (found := pattern.fullmatch(word))
    ]
    return f"{stem}{max(numbers, default=0) + 1:03d}"
