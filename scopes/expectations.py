"""The expectations of scope_behaviors.yaml: their schema, and running them like real tasks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from hopper.config.document import Document, Problem
from hopper.config.registry import BEHAVIORS, Part, config_errors, effective_settings
from hopper.config.sections import Section, Words
from instances.choices import ExecutorPreference, HopperScope, InstanceStatus
from instances.tree.reads import stated_capabilities
from scopes.deciding import BehaviorFailed, decide, get_behavior_for_scope
from scopes.decisions import (
    CreateChild,
    Decision,
    InstanceFacts,
    Refuse,
    SendTo,
    Situation,
    Stay,
    TaskFacts,
)
from scopes.rules.schema import RuleTask
from scopes.settings import Scope


class ExampleTask(RuleTask):
    """The fields of a task that behaviours read."""

    required_capabilities: Words = ()
    task_type: str = ""
    complexity: Annotated[int, Field(ge=1, le=5)] | None = None
    executor_preference: Annotated[ExecutorPreference, Field(strict=False)] = ExecutorPreference.ANY
    owner: str = ""
    requester: str = ""
    source: str = ""


def _sound(config: dict[str, Any]) -> dict[str, Any]:
    wrong = [f"{key} {message}" for key, message in config_errors(config)]
    if wrong:
        raise ValueError("; ".join(wrong))
    return config


OwnConfig = Annotated[dict[str, Any], AfterValidator(_sound)]


class ExampleChild(Section):
    """A live child of the deciding instance; `config` is its own, as it would be stored."""

    id: str
    name: str = ""
    scope: Scope = HopperScope.PROJECT
    status: Annotated[InstanceStatus, Field(strict=False)] = InstanceStatus.RUNNING
    config: OwnConfig = {}
    waiting: Annotated[int, Field(ge=0)] = 0
    open_tasks: Annotated[int, Field(ge=0)] = 0


class BehaviorExpectation(Section):
    """A task, the situation in which it is decided, and the decision that has to follow.

    `expect` is `send ID`, `create` (or `create NAME`), `stay CODE` or `refuse CODE`.
    """

    name: str = ""
    task: ExampleTask
    config: OwnConfig = {}
    children: Annotated[tuple[ExampleChild, ...], Field(strict=False)] = ()
    expect: Annotated[str, Field(pattern=r"^(send|stay|refuse|create)( \S+)?$")]


class ExpectationSettings(Section):
    """The expectations of a scope."""

    expectations: Annotated[tuple[BehaviorExpectation, ...], Field(strict=False)] = ()


EXPECTATIONS = Part(ExpectationSettings, BEHAVIORS, own=False)


def failed_expectations(file: Any, document: Document) -> Iterable[Problem]:
    """Yield a fault for each expectation that the configuration in force does not meet."""
    for scope, section in file.root.items():
        for index, expectation in enumerate(section.expectations):
            reached, why = _outcome(scope, expectation)
            wanted = expectation.expect
            if reached != wanted and reached.partition(" ")[0] != wanted:
                name = expectation.name or repr(expectation.task.title)
                words = f"{name} comes to {reached} ({why}), expected {wanted}"
                yield document.problem((scope, "expectations", index), words)


def _outcome(scope: str, expectation: BehaviorExpectation) -> tuple[str, str]:
    try:
        decision = decide(get_behavior_for_scope(scope), _situation(scope, expectation))
        return in_words(decision), "; ".join(decision.reasons)
    except BehaviorFailed as error:
        return "an error", str(error)
    except Exception as error:
        # A behaviour of the operator's own may fail in any way, and return anything.
        return "an error", f"{type(error).__name__}: {error}"


def in_words(decision: Decision) -> str:
    """Return a decision as expectations put it: `send web`, `stay ManualQueue`, ..."""
    if isinstance(decision, SendTo):
        return f"send {decision.target_id}"
    if isinstance(decision, CreateChild):
        return f"create {decision.name}"
    word = "refuse" if isinstance(decision, Refuse) else "stay"
    return f"{word} {decision.code if isinstance(decision, Stay | Refuse) else ''}".rstrip()


def _situation(scope: str, expectation: BehaviorExpectation) -> Situation:
    own = InstanceFacts(
        id=scope.lower(),
        name=scope.lower(),
        scope=scope,
        effective_status="running",
        capabilities=_stated(expectation.config, frozenset()),
        subtree_capabilities=_stated(expectation.config, frozenset()),
        settings=effective_settings(scope, expectation.config),
    )
    children = tuple(_child(child, own) for child in expectation.children)
    return Situation(TaskFacts(id="task-expected", **expectation.task.model_dump()), own, children)


def _child(child: ExampleChild, parent: InstanceFacts) -> InstanceFacts:
    can = _stated(child.config, parent.capabilities)
    return InstanceFacts(
        id=child.id,
        name=child.name or child.id,
        scope=child.scope,
        effective_status=child.status,
        capabilities=can,
        subtree_capabilities=can,
        domains=tuple(map(str, child.config.get("domains") or ())),
        settings=effective_settings(child.scope, child.config),
        queued=child.waiting,
        open_tasks=child.open_tasks,
    )


def _stated(config: dict[str, object], inherited: frozenset[str]) -> frozenset[str]:
    stated = stated_capabilities(config)
    return inherited if stated is None else stated
