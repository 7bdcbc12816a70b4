"""Finds the behaviour of a scope, calls it, and validates its decision."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cache
from typing import Any, cast

from django.utils.module_loading import import_string

from hopper.config.document import Document, Problem
from hopper.errors import Conflict
from instances.choices import PLACING_BLOCKS, WaitingCode as W
from instances.models import HopperInstance
from scopes.behaviors.base import Ambiguous, ScopeBehavior
from scopes.decisions import (
    Answer,
    CreateChild,
    Decision,
    InstanceFacts,
    Refuse,
    SendTo,
    Situation,
    Stay,
    TaskFacts,
)
from scopes.settings import BEHAVIOR, scopes_below

logger = logging.getLogger(__name__)

_RESTS = frozenset({W.MANUAL_QUEUE, W.AWAITING_TRIAGE, W.READY_FOR_WORKER})
"""The waiting codes of a task that stays; the rest of R26 follows from other rows."""


class BehaviorFailed(Conflict):
    """The behaviour that decides here does not work; the task stays due until it does."""

    code = "behavior_failed"


def get_behavior_for_scope(scope: str) -> ScopeBehavior:
    """Return the behaviour that scope_behaviors.yaml names for `scope` now."""
    return _made(BEHAVIOR.of_scope(scope).behavior)


def get_behavior_for_instance(instance: HopperInstance) -> ScopeBehavior:
    """Return the behaviour of an instance, which is its scope's."""
    return get_behavior_for_scope(instance.scope)


@cache
def _made(path: str) -> ScopeBehavior:
    return cast("ScopeBehavior", import_string(path)())


def check_behaviors(file: Any, document: Document) -> Iterable[Problem]:
    """Yield a fault for each behaviour of scope_behaviors.yaml that is no class of its kind."""
    for scope, section in file.root.items():
        fault = _fault_of_class(section.behavior)
        if fault:
            yield document.problem((scope, "behavior"), fault)


def _fault_of_class(path: str) -> str:
    # An operator's code may fail in any way; a script may end the process.
    try:
        found = import_string(path)
    except (Exception, SystemExit) as error:
        return f"does not import: {type(error).__name__}: {error}"
    verbs = (getattr(found, verb, None) for verb in ("decide", "answer"))
    if not isinstance(found, type) or not all(map(callable, verbs)):
        return "has to be a class with decide and answer"
    return ""


def prove_behaviors(file: Any, document: Document) -> Iterable[Problem]:
    """Yield a fault for each behaviour that cannot be made; it may read settings meanwhile."""
    for scope, section in file.root.items():
        try:
            _made(section.behavior)
        except (Exception, SystemExit) as error:
            words = f"cannot be made: {type(error).__name__}: {error}"
            yield document.problem((scope, "behavior"), words)


def decide(behavior: ScopeBehavior, situation: Situation) -> Decision:
    """Return the decision of `behavior`.

    Raises BehaviorFailed where it fails, or decides what no behaviour may: an offer to an instance
    that is no live child, is barred (R10) or has a scope that policy leaves out; a child of such a
    scope or without a name; a code that is no reason to stay or to refuse; or a decision that
    cannot be recorded.
    """
    try:
        decision: Decision = _decision(behavior, situation)
        fault = _fault(decision, situation) or _unrecordable(decision)
    except Exception as error:
        raise _failed(behavior, f"{type(error).__name__}: {error}") from error
    if fault:
        raise _failed(behavior, fault)
    return decision


def _decision(behavior: ScopeBehavior, situation: Situation) -> Any:
    """Return the behaviour's decision. A person decides about a word with two meanings (R25)."""
    try:
        return behavior.decide(situation)
    except Ambiguous as ambiguous:
        return Refuse((ambiguous.words, "name it by its id"), code="AmbiguousTarget")


def answer(behavior: ScopeBehavior, task: TaskFacts, instance: InstanceFacts) -> Answer:
    """Return the answer of `behavior` to an offer. If it fails, a person has to answer."""
    try:
        given: Any = behavior.answer(task, instance)
        if isinstance(given, Answer) and given.verdict in ("accept", "wait", "refuse"):
            return given
        words = f"it answered {given!r}"
    except Exception as error:
        words = f"{type(error).__name__}: {error}"
        logger.exception("behaviour failed", extra={"event": "behavior.failed", "task": task.id})
    return Answer("wait", BehaviorFailed.code, f"{path_of(behavior)} failed: {words}")


def path_of(behavior: ScopeBehavior) -> str:
    """Return the dotted path under which a behaviour is configured."""
    kind = type(behavior)
    return f"{kind.__module__}.{kind.__qualname__}"


def _failed(behavior: ScopeBehavior, words: str) -> BehaviorFailed:
    return BehaviorFailed(f"{path_of(behavior)} failed: {words}", behavior=path_of(behavior))


def _fault(decision: Any, situation: Situation) -> str:
    """Return the fault of a decision, in words, or "" for a sound one."""
    if not isinstance(decision, Stay | SendTo | CreateChild | Refuse):
        return f"it decided {decision!r}"
    if isinstance(decision, Stay | Refuse):
        codes = _RESTS if isinstance(decision, Stay) else PLACING_BLOCKS
        known = ", ".join(sorted(codes))
        return "" if decision.code in codes else f"its code is {decision.code!r}; allowed: {known}"
    own = situation.instance
    allowed = scopes_below(own.scope, own.settings)
    if isinstance(decision, CreateChild):
        if decision.scope not in allowed:
            return f"it creates a {decision.scope or 'nothing'} below {own.id}"
        return "" if decision.name.strip() else "it creates an instance without a name"
    target = next((one for one in situation.candidates if one.id == decision.target_id), None)
    if target is None:
        return f"it sends to {decision.target_id}, no live child of {own.id}"
    if target.barred or target.scope not in allowed:
        why = target.barred or f"a {target.scope}, which {own.id} may not ask"
        return f"it sends to {target.id}, which is {why}"
    return ""


def _unrecordable(decision: Decision) -> str:
    """Return why a decision cannot be kept as JSON, or "" where it can."""
    words = [type(one).__name__ for one in decision.reasons if not isinstance(one, str)]
    if words or isinstance(decision.reasons, str):
        return f"its reasons are no sentences but {', '.join(words) or 'one'}"
    _ = decision.text
    return ""
