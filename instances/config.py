"""The keys of an instance's configuration, their defaults per scope, and the queue's part."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from django.utils.module_loading import import_string
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, RootModel, ValidationError

from hopper.config.document import Document, Problem, Section, Words, message_of, require_known
from hopper.config.files import ConfigFile
from instances.choices import ExecutorPreference, HopperScope, InstanceStatus, TaskPriority

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

logger = logging.getLogger(__name__)

MAX_OFFERS = 16
"""Offers that an epoch may make in all before the task is blocked: HopLimit (R10)."""

Scope = Annotated[HopperScope, Field(strict=False)]
Scopes = Annotated[tuple[Scope, ...], Field(strict=False)]


class QueueSettings(Section):
    """Limits and times (seconds) of one queue (R15, R21, R22)."""

    max_concurrent_tasks: Annotated[int, Field(ge=0, le=1_000_000)] = 10
    max_queued_tasks: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    lease_seconds: Annotated[int, Field(ge=30, le=86_400)] = 300
    max_attempts: Annotated[int, Field(ge=1, le=1000)] = 3
    retry_backoff_seconds: Annotated[float, Field(ge=0, le=86_400)] = 5


class RoutingSettings(Section):
    """How an instance decides (R9, R25): the first two at GLOBAL and its like, then PROJECT."""

    unmatched: Literal["hold", "balance"] = "hold"
    auto_create_projects: bool = False
    orchestration_threshold: Annotated[int, Field(ge=1, le=6)] = 3
    automatable_types: Words = ()
    create_orchestrations: bool = True
    max_orchestrations: Annotated[int, Field(ge=0, le=10_000)] = 5
    manual_fallback: bool = True


class OfferSettings(Section):
    """How an instance answers offers (the first two), and how it makes them (R8 to R10, R15).

    `delegate_to` narrows the scopes it may hand work to, it never widens R1; `max_offers` is how
    often it asks for one task in an epoch; with `fallback` none it asks nobody after a refusal.
    """

    accept: Literal["auto", "manual"] = "auto"
    offer_seconds: Annotated[int, Field(ge=1, le=31_536_000)] = 900
    delegate_to: Scopes | None = None
    fallback: Literal["next", "none"] = "next"
    max_offers: Annotated[int, Field(ge=1, le=MAX_OFFERS)] = MAX_OFFERS
    on_failure: Literal["fail", "escalate"] = "fail"


# Phase 1 said `critical` where the task model says `urgent`.
Level = Annotated[
    TaskPriority,
    Field(strict=False),
    BeforeValidator(lambda word: "urgent" if word == "critical" else word),
]


class RuleTask(Section):
    """A task as far as rules read it."""

    title: str = ""
    description: str = ""
    project: str = ""
    tags: Words = ()
    priority: Level = TaskPriority.MEDIUM


class ExampleTask(RuleTask):
    """A task as far as behaviours read it."""

    required_capabilities: Words = ()
    task_type: str = ""
    complexity: Annotated[int, Field(ge=1, le=5)] | None = None
    executor_preference: Annotated[ExecutorPreference, Field(strict=False)] = ExecutorPreference.ANY
    owner: str = ""
    requester: str = ""
    source: str = ""


def _sound(config: dict[str, Any]) -> dict[str, Any]:
    wrong = [f"{key} {message}" for key, message in config_errors("", config)]
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
    """A task, what stands where it is decided, and what has to come out.

    `expect` is `send ID`, `create` (or `create NAME`), `stay CODE` or `refuse CODE`.
    """

    name: str = ""
    task: ExampleTask
    config: OwnConfig = {}
    children: Annotated[tuple[ExampleChild, ...], Field(strict=False)] = ()
    expect: Annotated[str, Field(pattern=r"^(send|stay|refuse|create)( \S+)?$")]


class ScopeSection(Section):
    """One scope of scope_behaviors.yaml: who decides, and the defaults of queue and routing."""

    behavior: str
    queue: QueueSettings = Field(default_factory=QueueSettings)
    routing: RoutingSettings = Field(default_factory=RoutingSettings)
    expectations: Annotated[tuple[BehaviorExpectation, ...], Field(strict=False)] = ()


def _scopes_only(value: dict[str, Any]) -> dict[str, Any]:
    # Before what stands there is read: of a scope that is none, keys would seem to be missing.
    require_known(value, HopperScope.values, "scope")
    return value


class ScopeBehaviors(RootModel[Annotated[dict[str, ScopeSection], BeforeValidator(_scopes_only)]]):
    """scope_behaviors.yaml."""

    model_config = ConfigDict(defer_build=True)


class DelegationPolicies(
    RootModel[Annotated[dict[str, OfferSettings], BeforeValidator(_scopes_only)]]
):
    """delegation_policies.yaml."""

    model_config = ConfigDict(defer_build=True)


class _Purpose(Section):
    capabilities: Words = ()
    domains: Words = ()


class _OwnConfig(_Purpose, QueueSettings, RoutingSettings, OfferSettings):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


KNOWN_KEYS = frozenset(_OwnConfig.model_fields)
"""The keys of `instance.config` that mean something to Hopper."""


def _check_behaviors(value: ScopeBehaviors, document: Document) -> Iterable[Problem]:
    for scope, section in value.root.items():
        words = _fault_of_behavior(section.behavior)
        if words:
            yield document.problem((scope, "behavior"), words)


def _fault_of_behavior(path: str) -> str:
    """Return why the class at a dotted path cannot decide, or ""."""
    # A stranger's code may fail in any way, a script by ending the process.
    try:
        found = import_string(path)
    except (Exception, SystemExit) as error:
        return f"does not import: {type(error).__name__}: {error}"
    verbs = (getattr(found, verb, None) for verb in ("decide", "answer"))
    if not isinstance(found, type) or not all(map(callable, verbs)):
        return "has to be a class with decide and answer"
    return ""


def _prove_behaviors(value: ScopeBehaviors, document: Document) -> Iterable[Problem]:
    faults = []
    for scope, section in value.root.items():
        try:
            # Only now, for it may ask for settings itself.
            import_string(section.behavior)()
        except (Exception, SystemExit) as error:
            words = f"cannot be made: {type(error).__name__}: {error}"
            faults.append(document.problem((scope, "behavior"), words))
    if faults:
        return faults
    # The behaviours stand above this module; they are called by name.
    prove = import_string("scopes.expectations.failed_expectations")
    return cast("Iterable[Problem]", prove(value, document))


BEHAVIORS = ConfigFile("scope_behaviors.yaml", ScopeBehaviors, _check_behaviors, _prove_behaviors)
POLICIES = ConfigFile("delegation_policies.yaml", DelegationPolicies)


def queue_settings(scope: str, config: Mapping[str, Any]) -> QueueSettings:
    """Return the queue's settings of an instance: its scope's defaults under its own `config`."""
    base = BEHAVIORS.current().value.root[scope].queue
    own = own_values(config, QueueSettings)
    return base.model_copy(update=own) if own else base


def offer_settings(scope: str, config: Mapping[str, Any]) -> OfferSettings:
    """Return how an instance hands over: its scope's policy under its own `config`."""
    base = POLICIES.current().value.root[scope]
    own = own_values(config, OfferSettings)
    return base.model_copy(update=own) if own else base


def own_values(config: Mapping[str, Any], part: type[Section]) -> dict[str, Any]:
    """Return the keys of `part` that an instance sets itself.

    A value of a wrong type cannot come in through a service; one that is there is ignored.
    """
    mentioned = {key: config[key] for key in _fields(part) if key in config}
    if not mentioned:
        return {}
    try:
        own = part.model_validate(mentioned)
    except ValidationError:
        wrong = {key for key, _ in config_errors("", mentioned)}
        logger.warning("settings ignored", extra={"event": "config.ignored", "keys": sorted(wrong)})
        own = part.model_validate({k: v for k, v in mentioned.items() if k not in wrong})
    return {key: getattr(own, key) for key in own.model_fields_set}


@cache
def _fields(part: type[Section]) -> tuple[str, ...]:
    return tuple(part.model_fields)


def config_errors(scope: str, config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what is wrong with an instance's `config` as (key, message); [] where nothing is.

    Known keys are the same for every scope; unknown ones are the user's own and never wrong.
    """
    try:
        _OwnConfig.model_validate({k: v for k, v in config.items() if k in KNOWN_KEYS})
    except ValidationError as error:
        found = {str(one["loc"][0]): message_of(one) for one in error.errors()}
        return sorted(found.items())
    return []
