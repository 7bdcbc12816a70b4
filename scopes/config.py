"""The effective configuration of an instance, and the schema of routing_rules.yaml."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, count
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from django.utils.module_loading import import_string
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from hopper.configuration import CONFIGURATION, ConfigFile
from hopper.ids import slug_of
from hopper.patterns import MAX_PATTERN, compiled
from hopper.yamlconf import SHIPPED, Document, Place, Problem, Section, Words, fault_at
from instances.choices import HopperScope, TaskPriority
from instances.config import (
    BEHAVIORS,
    POLICIES,
    Level,
    OfferSettings,
    QueueSettings,
    RoutingSettings,
    RuleTask,
    Scope,
    Scopes,
    config_errors,
    own_values,
)
from instances.states import PARENTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from scopes.decisions import Situation

__all__ = [
    "RULES",
    "config_digest",
    "config_errors",
    "effective_settings",
    "scopes_below",
    "traced_settings",
]

# Effective settings

SETTINGS = frozenset(
    {*QueueSettings.model_fields, *RoutingSettings.model_fields, *OfferSettings.model_fields}
)
"""The keys of an instance's `config` that are laid over the files' values."""


def effective_settings(scope: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the queue, routing and delegation settings of an instance (M17).

    Shipped defaults, then the operator's files, then the instance's own `config`.
    """
    section, policy = BEHAVIORS.current().value.root[scope], POLICIES.current().value.root[scope]
    found: dict[str, Any] = {}
    for part, base in (
        (QueueSettings, section.queue),
        (RoutingSettings, section.routing),
        (OfferSettings, policy),
    ):
        found |= {key: getattr(base, key) for key in part.model_fields}
        found |= own_values(config, part)
    return found


@dataclass(frozen=True)
class Traced:
    """A setting and where it comes from: "shipped", "instance", or the operator's file and line."""

    value: Any
    source: str
    line: int | None = None


def traced_settings(scope: str, config: Mapping[str, Any]) -> dict[str, Traced]:
    """Return every effective setting of an instance, and its scope's behavior, with its source."""
    behaviors, policies = BEHAVIORS.current(), POLICIES.current()
    places = {key: behaviors.place(scope, "queue", key) for key in QueueSettings.model_fields}
    places |= {key: behaviors.place(scope, "routing", key) for key in RoutingSettings.model_fields}
    places |= {key: policies.place(scope, key) for key in OfferSettings.model_fields}
    places["behavior"] = behaviors.place(scope, "behavior")
    values = {
        **effective_settings(scope, config),
        "behavior": behaviors.value.root[scope].behavior,
    }
    own = {
        key
        for part in (QueueSettings, RoutingSettings, OfferSettings)
        for key in own_values(config, part)
    }
    return {
        key: Traced(values[key], "instance") if key in own else _traced(values[key], places[key])
        for key in sorted(values)
    }


def scopes_below(scope: str, settings: Mapping[str, Any]) -> frozenset[str]:
    """Return the scopes of children that an instance may hand work to: R1, narrowed by policy."""
    legal = frozenset(child for child, parents in PARENTS.items() if scope in parents)
    allowed = settings["delegate_to"]
    return legal if allowed is None else legal & frozenset(allowed)


def _traced(value: Any, place: Place) -> Traced:
    return Traced(value, place.source, None if place.source == SHIPPED else place.line)


def config_digest(situation: Situation) -> str:
    """Return the digest of the configuration a decision was made under: same digest, same rules."""
    text = json.dumps(dict(situation.instance.settings), sort_keys=True, default=list)
    return hashlib.sha256((text + CONFIGURATION.current().digest).encode()).hexdigest()[:16]


# Rules

DEFAULT = "default"
"""The id under which the default destination is recorded; no rule may have it."""


def _destination(text: str) -> str:
    kind, _, name = text.partition(":")
    if kind not in ("project", "instance", "user") or not name.strip():
        raise ValueError("has to be project:NAME, instance:NAME or user:NAME")
    return f"{kind}:{name.strip()}"


def _pattern(text: str) -> str:
    if len(text) > MAX_PATTERN:
        raise ValueError(f"longer than {MAX_PATTERN} characters")
    try:
        compiled(text)
    except ValueError as error:
        raise ValueError(f"is no RE2 expression: {error}") from None
    return text


Levels = Annotated[tuple[Level, ...], Field(strict=False)]
Destination = Annotated[str, AfterValidator(_destination)]
Pattern = Annotated[str, AfterValidator(_pattern)]
Patterns = Annotated[tuple[Pattern, ...], Field(strict=False)]


class BaseRule(Section):
    """What every rule has; `destination` is required outside a composite.

    `weight` is how much a match counts; `priority` the order of evaluation: of the rules that
    match, the highest priority wins, and weight decides among equals.
    """

    id: Annotated[str, Field(max_length=200)] = ""
    name: Annotated[str, Field(max_length=200)] = ""
    description: str = ""
    destination: Destination | None = None
    weight: Annotated[float, Field(ge=0, le=1)] = 1.0
    enabled: bool = True
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    scopes: Scopes = ()


class KeywordRule(BaseRule):
    """Whole words of title and description; without keywords it catches everything."""

    type: Literal["keyword"]
    keywords: Words


class TagRule(BaseRule):
    """All required tags; without those, one of the optional tags or patterns."""

    type: Literal["tag"]
    required_tags: Words = ()
    optional_tags: Words = ()
    tag_patterns: Patterns = ()

    @model_validator(mode="after")
    def _says_something(self) -> TagRule:
        if not (self.required_tags or self.optional_tags or self.tag_patterns):
            raise ValueError("needs required_tags, optional_tags or tag_patterns")
        return self


class PriorityRule(BaseRule):
    """A list of priorities, or a range with both ends included."""

    type: Literal["priority"]
    priorities: Levels = ()
    min_priority: Level | None = None
    max_priority: Level | None = None

    @model_validator(mode="after")
    def _says_something(self) -> PriorityRule:
        order = list(TaskPriority)
        low, high = self.min_priority, self.max_priority
        if not (self.priorities or low or high):
            raise ValueError("needs priorities, min_priority or max_priority")
        if low and high and order.index(low) > order.index(high):
            raise ValueError("min_priority is above max_priority")
        return self


class PatternRule(BaseRule):
    """An RE2 expression searched in the title and the beginning of the description."""

    type: Literal["pattern"]
    pattern: Pattern


class ProjectRule(BaseRule):
    """The project a task names."""

    type: Literal["project"]
    projects: Words


class CompositeRule(BaseRule):
    """and: all match; or: one matches; not: the only one does not."""

    type: Literal["composite"]
    operator: Literal["and", "or", "not"]
    sub_rules: Annotated[tuple[Rule, ...], Field(strict=False, min_length=1)]

    @model_validator(mode="after")
    def _not_has_one(self) -> CompositeRule:
        if self.operator == "not" and len(self.sub_rules) != 1:
            raise ValueError("not takes exactly one of sub_rules")
        return self


AnyRule = KeywordRule | TagRule | PriorityRule | PatternRule | ProjectRule | CompositeRule


def _of_known_type(value: Any) -> Any:
    types = [get_args(kind.model_fields["type"].annotation)[0] for kind in get_args(AnyRule)]
    if isinstance(value, dict) and value.get("type") not in types:
        words = f"unknown type {value['type']!r}" if "type" in value else "is missing"
        raise fault_at("type", f"{words}; allowed: {', '.join(types)}")
    return value


Rule = Annotated[AnyRule, Field(discriminator="type"), BeforeValidator(_of_known_type)]


class Expectation(Section):
    """A task and where the rules that count at `scope` have to send it; null: no rule may match."""

    name: str = ""
    task: RuleTask
    scope: Scope = HopperScope.GLOBAL
    destination: Destination | None


class RuleFile(Section):
    """routing_rules.yaml."""

    rules: Annotated[tuple[Rule, ...], Field(strict=False)] = ()
    default_destination: Destination | None = None
    expectations: Annotated[tuple[Expectation, ...], Field(strict=False)] = ()

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The rules' ids in order, no two alike: made from name or place where none is given."""
        taken = {DEFAULT, *(rule.id for rule in self.rules)}
        found = []
        for place, rule in enumerate(self.rules, start=1):
            more = (f"rule-{place}-{number}" for number in count(2))
            ways = chain((slug_of(rule.name), f"rule-{place}"), more)
            made = next(way for way in ways if way and way not in taken)
            found.append(rule.id or made)
            taken.add(found[-1])
        return tuple(found)


def _check_rules(value: RuleFile, document: Document) -> Iterable[Problem]:
    seen: set[str] = set()
    for index, rule in enumerate(value.rules):
        if rule.destination is None:
            yield document.problem(("rules", index, "destination"), "is missing")
        if rule.id == DEFAULT:
            words = f"the id {DEFAULT} is reserved for default_destination"
            yield document.problem(("rules", index, "id"), words)
        if rule.id and rule.id in seen:
            yield document.problem(("rules", index, "id"), f"the id {rule.id} is given twice")
        seen.add(rule.id)
    # The engine stands above this module; it is called by name.
    yield from import_string("scopes.rules.engine.failed_expectations")(value, document)


RULES = ConfigFile("routing_rules.yaml", RuleFile, _check_rules)
