"""The base of all behaviours: how an offer is answered, how candidates are weighed and ranked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from hopper.words import bearers, key_of, keys_of
from instances.allowances import ROUTING
from scopes.decisions import (
    Answer,
    Considered,
    Decision,
    InstanceFacts,
    SendTo,
    Situation,
    TaskFacts,
)
from scopes.settings import scopes_below

OK = "ok"
"""The verdict of a hard filter on a candidate that passes."""


class Ambiguous(Exception):
    """A word is the id of one instance and the name of another (R25)."""

    def __init__(self, word: str, ids: Sequence[str]) -> None:
        self.words = f"{word!r} is the id of {ids[0]} and the name of {', '.join(ids[1:])}"
        super().__init__(self.words)


class ScopeBehavior:
    """The base class of behaviours. A behaviour reads its arguments, decides, and writes nothing.

    To plug in your own, derive from this class (or from a shipped behaviour), implement `decide`,
    and name the class in scope_behaviors.yaml: `PROJECT: {behavior: my_package.my_module.MyClass}`.
    A behaviour has no state: one object serves all instances and threads. An example stands in
    docs/how-to/write-a-behaviour.md.
    """

    def decide(self, situation: Situation) -> Decision:
        """Return the decision about a task: the next instance, or the reason to stay (R9)."""
        raise NotImplementedError

    def answer(self, task: TaskFacts, instance: InstanceFacts) -> Answer:
        """Return the answer of `instance` to an offer: accept, wait or refuse (R8)."""
        status = instance.effective_status
        if not instance.standing.may("offer", by_name=True):
            return Answer("refuse", f"target_{status}", f"{instance.id} is {status}")
        if instance.queue_full:
            return Answer("refuse", "queue_full", instance.queue_full)
        if not instance.standing.may("accept"):
            return Answer("wait", "", f"{instance.id} is {status} and does not answer by itself")
        if instance.settings["accept"] == "manual":
            return Answer("wait", "", f"{instance.id} wants a person to accept")
        return Answer("accept", "", f"{instance.id} has room")


def hard_filters(
    task: TaskFacts, candidate: InstanceFacts, decider: InstanceFacts
) -> dict[str, str]:
    """Return each hard filter's verdict: "ok" or the reason code why the candidate is out (R9)."""
    legal = candidate.scope in scopes_below(decider.scope, decider.settings)
    scope = OK if legal else "ScopeNotAllowed"
    if scope == OK and candidate.scope == "FEDERATED":
        scope = "NoRemote"
    receives = candidate.standing.may("offer")
    lacking = lacks(task, candidate)
    return {
        "scope": scope,
        "status": OK if receives else candidate.effective_status,
        "loops": candidate.barred or OK,
        "capabilities": f"lacks {', '.join(lacking)}" if lacking else OK,
        "capacity": "QueueFull" if candidate.queue_full else OK,
    }


def lacks(task: TaskFacts, instance: InstanceFacts) -> list[str]:
    """Return the required capabilities that neither the instance nor its routing subtree has."""
    if not task.required_capabilities:
        return []
    below = instance.subtree_capabilities if instance.scope in ROUTING else frozenset()
    return missing(task, instance.capabilities | below)


def missing(task: TaskFacts, capabilities: Iterable[str]) -> list[str]:
    """Return the required capabilities that are not among `capabilities`, as typed."""
    has = set(keys_of(capabilities))
    return sorted(word for word in task.required_capabilities if key_of(word) not in has)


def weigh(
    task: TaskFacts,
    candidate: InstanceFacts,
    decider: InstanceFacts,
    parts: Mapping[str, float],
    *,
    speaks: bool,
) -> Considered:
    """Return the candidate with its filters, score and load, ready to be ranked and recorded."""
    filters = hard_filters(task, candidate, decider)
    return Considered(
        instance_id=candidate.id,
        fits=all(verdict == OK for verdict in filters.values()),
        filters=filters,
        score=round(sum(parts.values()), 4),
        parts=dict(parts),
        load=candidate.load,
        speaks=speaks,
        answers=candidate.standing.may("accept"),
        last_assigned=candidate.last_assigned,
    )


def unless_refused(considered: list[Considered], decider: InstanceFacts) -> list[Considered]:
    """Return the candidates; all are out once one has refused and `fallback` is none (R9)."""
    refused = any(one.filters["loops"] == "excluded" for one in considered)
    if not refused or decider.settings["fallback"] == "next":
        return considered
    return [
        replace(one, fits=False, filters={**one.filters, "fallback": "NotAskedNext"})
        for one in considered
    ]


def rank(considered: Iterable[Considered]) -> list[Considered]:
    """Return the fitting candidates, best first (R9).

    The order is: score, running before not running, load, least recently assigned, id."""
    return sorted(
        (one for one in considered if one.fits),
        key=lambda one: (
            -one.score,
            not one.answers,
            one.load,
            one.last_assigned,
            one.instance_id,
        ),
    )


def send_to_best(
    reasons: tuple[str, ...],
    ranked: Sequence[Considered],
    considered: Sequence[Considered],
    *,
    rules: tuple[str, ...] = (),
    rule: str = "",
) -> SendTo:
    """Return the decision for the first of the `ranked` candidates."""
    return SendTo(
        reasons,
        tuple(considered),
        confidence_of(ranked),
        rules,
        target_id=ranked[0].instance_id,
        score=ranked[0].score,
        rule=rule,
    )


def confidence_of(ranked: Sequence[Considered]) -> float:
    """Return the confidence of the choice: 1 without a rival, 0.5 against an equal one."""
    if len(ranked) < 2 or ranked[0].score <= 0:
        return 1.0 if len(ranked) == 1 else 0.5
    return round(ranked[0].score / (ranked[0].score + max(0.0, ranked[1].score)), 4)


def why_out(considered: Iterable[Considered]) -> tuple[str, ...]:
    """Return a sentence for each candidate that was filtered out."""
    return tuple(
        f"{one.instance_id}: {', '.join(_verdicts(one.filters))}"
        for one in considered
        if not one.fits
    )


def _verdicts(filters: Mapping[str, str]) -> Iterator[str]:
    """Yield the verdicts that put a candidate out, in words."""
    for name, verdict in filters.items():
        if verdict != OK:
            yield verdict if verdict.startswith("lacks ") else f"{name} {verdict}"


def named(word: str, instances: Iterable[InstanceFacts]) -> InstanceFacts | None:
    """Return the instance that a word names, or None. Raises Ambiguous for several (R25)."""
    found = bearers(word, instances)
    if len(found) > 1:
        raise Ambiguous(word, [one.id for one in found])
    return found[0] if found else None
