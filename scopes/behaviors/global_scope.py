"""GLOBAL: sends a task to the child that its project, tags, words or the rules match (R9)."""

from __future__ import annotations

from collections.abc import Mapping

from hopper.words import key_of
from instances.choices import HopperScope
from scopes.behaviors.base import (
    ScopeBehavior,
    lacks,
    named,
    rank,
    send_to_best,
    unless_refused,
    weigh,
    why_out,
)
from scopes.behaviors.explicit import decide_explicit
from scopes.decisions import Considered, Decision, InstanceFacts, Refuse, Situation, Stay, TaskFacts
from scopes.rules.engine import RULES, Suggestion, suggestions
from scopes.rules.matchers import Reading
from scopes.rules.schema import DEFAULT

TAG_POINTS = 2.0
KEYWORD_POINTS = 1.0
RULE_POINTS = 10.0
ORDER_POINTS = 100.0
"""A rule counts more than tags and words; evaluation priority counts among rules."""

_MOST = 80.0


class GlobalScopeBehavior(ScopeBehavior):
    """Explicit project, then the score: rules, tags against capabilities, words against domains."""

    unmatched_code = "AwaitingTriage"

    def decide(self, situation: Situation) -> Decision:
        """Return the child for the task, or the reason why there is none (R9, R25)."""
        meant, rule = _meant(situation)
        if meant is situation.instance:
            # A rule keeps the task here.
            return decide_explicit(situation, may_create=False) or self.match(situation)
        may_create = situation.instance.scope == HopperScope.GLOBAL
        explicit = decide_explicit(situation, may_create=may_create, meant=meant, rule=rule)
        return explicit or self.match(situation)

    def match(self, situation: Situation) -> Decision:
        """Return the best child by rules, tags and words, without the named project."""
        task, decider = situation.task, situation.instance
        found = suggestions(RULES.current().value, task, decider.scope)
        spoken = _spoken(found, situation)
        reading = Reading(task)
        considered = []
        for one in situation.candidates:
            if one.scope == HopperScope.ORCHESTRATION:
                continue
            parts = _parts(reading, one) | spoken.get(one.id, {})
            speaks = bool(parts) or _has_required(task, one)
            considered.append(weigh(task, one, decider, parts, speaks=speaks))
        considered = unless_refused(considered, decider)
        rules = tuple(one.rule_id for one in found)
        matching = [one for one in considered if one.speaks]
        ranked = rank(matching)
        here = sum(spoken.get(decider.id, {}).values())
        if here and (not ranked or here >= ranked[0].score):
            reasons = (*_rule_reasons(found), f"a rule keeps it at {decider.id}")
            rule = _rule_for(decider.id, found, situation)
            code = self.unmatched_code
            return Stay(reasons, tuple(considered), rules=rules, rule=rule, code=code)
        if not matching:
            return self._unmatched(situation, considered, found)
        if not ranked:
            return _none_left(situation, considered, matching, rules)
        best = ranked[0]
        reasons = (*_rule_reasons(found), *_reasons(best, ranked))
        rule = _rule_for(best.instance_id, found, situation)
        return send_to_best(reasons, ranked, considered, rules=rules, rule=rule)

    def _unmatched(
        self, situation: Situation, considered: list[Considered], found: list[Suggestion]
    ) -> Decision:
        rules = tuple(one.rule_id for one in found)
        reasons = (
            *_rule_reasons(found),
            "no project, tag, keyword or rule matches a child",
        )
        if _capability_gap(situation):
            return _none_left(situation, considered, considered, rules)
        if situation.instance.settings["unmatched"] != "balance" or not considered:
            return Stay(reasons, tuple(considered), rules=rules, code=self.unmatched_code)
        ranked = rank(considered)
        if not ranked:
            return _none_left(situation, considered, considered, rules)
        words = f"unmatched: balance sends it to the least loaded, {ranked[0].instance_id}"
        return send_to_best((*reasons, words), ranked, considered, rules=rules)


def _meant(situation: Situation) -> tuple[InstanceFacts | None, str]:
    """Return the child that a rule gives for the named project, and the rule's id, or None."""
    if not situation.task.project:
        return None, ""
    for one in suggestions(RULES.current().value, situation.task, situation.instance.scope):
        target = destination(one.destination, situation) if one.by_project else None
        if target is not None:
            return target, one.rule_id
    return None, ""


def _parts(reading: Reading, candidate: InstanceFacts) -> dict[str, float]:
    """Return the parts of the score that the candidate's own words earn."""
    tags = len(reading.tags.keys() & candidate.capability_keys)
    words = len(reading.found(candidate.domains))
    points = {"tags": tags * TAG_POINTS, "keywords": words * KEYWORD_POINTS}
    # Together these points stay below the step between two rules.
    return {name: min(value, _MOST / 2) for name, value in points.items() if value}


def _has_required(task: TaskFacts, candidate: InstanceFacts) -> bool:
    """Return whether the task requires capabilities and the candidate has them all."""
    return bool(task.required_capabilities) and not lacks(task, candidate)


def _capability_gap(situation: Situation) -> bool:
    """Return whether a required capability is missing from every live child."""
    required, live = situation.task.required_capabilities, situation.candidates
    return bool(required) and all(lacks(situation.task, one) for one in live)


def _spoken(found: list[Suggestion], situation: Situation) -> dict[str, dict[str, float]]:
    """Return the points of the rules by instance; a destination that is no child here gets none.

    Only the best rule for an instance counts; the ids of the others are recorded.
    """
    real = _aimed(found, situation)
    orders = sorted({one.priority for one, _ in real})
    points: dict[str, dict[str, float]] = {}
    for one, target_id in real:
        if one.rule_id == DEFAULT:
            points[target_id] = {"default": one.confidence}
            continue
        order = (orders.index(one.priority) + 1) * ORDER_POINTS
        points.setdefault(target_id, {"rule_order": order, "rules": one.confidence * RULE_POINTS})
    return points


def _aimed(found: list[Suggestion], situation: Situation) -> list[tuple[Suggestion, str]]:
    """Return the suggestions that lead somewhere here, each with the instance's id."""
    return [
        (one, target.id)
        for one in found
        if (target := destination(one.destination, situation)) is not None
    ]


def _rule_for(instance_id: str, found: list[Suggestion], situation: Situation) -> str:
    """Return the id of the best rule for an instance, or "" without one."""
    aimed = _aimed(found, situation)
    return next((one.rule_id for one, target_id in aimed if target_id == instance_id), "")


def destination(text: str, situation: Situation) -> InstanceFacts | None:
    """Return the instance for a rule's destination here, or None.

    `project:X` is the PROJECT child of that id or name, `instance:X` any child, `user:X` the
    PERSONAL child; `instance:` with the decider's own id, name or scope keeps the task here.
    """
    kind, _, word = text.partition(":")
    scopes = {"project": HopperScope.PROJECT, "user": HopperScope.PERSONAL}
    wanted = scopes.get(kind)
    children = (one for one in situation.candidates if wanted is None or one.scope == wanted)
    child = named(word, children)
    if child is not None or kind != "instance":
        return child
    own = situation.instance
    return own if key_of(word) == key_of(own.scope) else named(word, [own])


def _none_left(
    situation: Situation,
    considered: list[Considered],
    matching: list[Considered],
    rules: tuple[str, ...],
) -> Refuse:
    gap = _capability_gap(situation)
    words = "nobody below has " + ", ".join(situation.task.required_capabilities)
    reasons = (words if gap else "no candidate is left", *why_out(matching))
    code = "CapabilityGap" if gap else "Unroutable"
    return Refuse(reasons, tuple(considered), rules=rules, code=code)


def _rule_reasons(found: list[Suggestion]) -> tuple[str, ...]:
    return tuple(f"rule {one.rule_id}: {one.reason}, for {one.destination}" for one in found)


def _reasons(best: Considered, ranked: list[Considered]) -> tuple[str, ...]:
    parts = ", ".join(f"{name} {points:g}" for name, points in _shown(best.parts).items())
    reasons = [f"{best.instance_id} scores {best.score:g}" + (f" ({parts})" if parts else "")]
    equal = [one for one in ranked[1:] if one.score == best.score]
    if equal:
        reasons.append(
            f"same score as {', '.join(one.instance_id for one in equal)}; running ones come "
            f"first, then the least load ({best.load:g}), the least recently assigned, the id"
        )
    return tuple(reasons)


def _shown(parts: Mapping[str, float]) -> dict[str, float]:
    return {name.replace("_", " "): points for name, points in parts.items()}
