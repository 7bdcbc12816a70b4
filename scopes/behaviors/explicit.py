"""Tasks that name their project: sent there, or the project is created, or refused (R9, R25)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hopper.ids import is_slug
from hopper.words import key_of, keys_of
from instances.choices import HopperScope
from scopes.behaviors.base import OK, named, weigh
from scopes.decisions import CreateChild, Decision, InstanceFacts, Refuse, SendTo, Situation, Stay
from scopes.settings import scopes_below

CREATED_AN_HOUR = 20
"""Projects that the router may create under one instance in an hour (R25)."""


def decide_explicit(
    situation: Situation,
    *,
    may_create: bool,
    meant: InstanceFacts | None = None,
    rule: str = "",
) -> Decision | None:
    """Return the decision that the named project leads to, or None for a task that names none.

    `meant` is the child that `rule` gives for a name that no live child has; that child counts as
    named. With `may_create` false any other such name is only a label.
    """
    word = situation.task.project.strip()
    if not key_of(word):
        return None
    targets = [one for one in situation.candidates if one.scope != HopperScope.ORCHESTRATION]
    target = named(word, targets)
    if target is not None:
        return _to(situation, target)
    if meant is not None:
        decision = _to(situation, meant)
        reason = f"rule {rule}: by {word} {meant.id} is meant"
        return replace(decision, reasons=(reason, *decision.reasons[1:]), rules=(rule,), rule=rule)
    if not may_create:
        return None
    if named(word, [situation.instance]):
        return Stay((f"{word} is this instance itself",), code="AwaitingTriage")
    return _missing(situation, word)


def _to(situation: Situation, target: InstanceFacts) -> Decision:
    considered = weigh(
        situation.task, target, situation.instance, {"explicit": 1000.0}, speaks=True
    )
    reasons = (f"the task names {target.id} explicitly",)
    if considered.fits:
        return SendTo(reasons, (considered,), target_id=target.id, score=considered.score)
    out = {name: verdict for name, verdict in considered.filters.items() if verdict != OK}
    if out.get("loops") == "excluded":
        code, words = "ExplicitTargetRefused", f"{target.id} refused it in this epoch"
    elif "capabilities" in out:
        code, words = "CapabilityGap", f"{target.id} {out['capabilities']}"
    else:
        words = ", ".join(f"{name} {verdict}" for name, verdict in out.items())
        code, words = "Unroutable", f"{target.id} cannot receive it now: {words}"
    return Refuse((*reasons, words), (considered,), code=code, spills=False)


def _missing(situation: Situation, word: str) -> Decision:
    name, live = key_of(word), situation.candidates
    if name in keys_of(situation.terminated_names):
        return Refuse(
            (f"{word} was terminated; an operator decides",), code="ExplicitTargetMissing"
        )
    near = near_names(name, (w for one in live for w in (one.id, one.name)))
    meant = f"no child is called {word}" + (f"; did you mean {' or '.join(near)}?" if near else "")
    own = situation.instance
    if not own.settings["auto_create_projects"]:
        return Refuse((meant, "auto_create_projects is off"), code="ExplicitTargetMissing")
    if HopperScope.PROJECT not in scopes_below(own.scope, own.settings):
        return Refuse((meant, "delegate_to leaves projects out"), code="ExplicitTargetMissing")
    if not is_slug(name):
        return Refuse((meant, f"{word} cannot be an id"), code="ExplicitTargetMissing")
    if near:
        return Refuse((meant,), code="AmbiguousTarget")
    if situation.created_last_hour >= CREATED_AN_HOUR:
        words = f"{CREATED_AN_HOUR} projects were created here within the hour"
        return Refuse((meant, words), code="ExplicitTargetMissing")
    return CreateChild((meant, "it is created"), name=name, scope=HopperScope.PROJECT)


def near_names(name: str, others: Iterable[str]) -> list[str]:
    """Return the names in `others` that `name` may be a typing error for (R25)."""
    return sorted({other for other in others if is_typo(name, other)})


def is_typo(name: str, other: str) -> bool:
    """Return whether the names differ by one letter too many, missing, or swapped (R25).

    A replaced letter makes a different name, and so does any digit.
    """
    short, long = sorted((key_of(name), key_of(other)), key=len)
    if short == long:
        return False
    start = next((i for i, letter in enumerate(short) if letter != long[i]), len(short))
    if len(long) == len(short) + 1:
        return not long[start].isdigit() and short[start:] == long[start + 1 :]
    pair = long[start : start + 2]
    return (
        len(long) == len(short)
        and len(pair) == 2
        and not any(letter.isdigit() for letter in pair)
        and short[start : start + 2] == pair[::-1]
        and short[start + 2 :] == long[start + 2 :]
    )
