"""The schema of routing_rules.yaml: rules, destinations and expectations."""

from __future__ import annotations

from functools import cached_property
from itertools import chain, count
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from hopper.config.sections import Section, Words, fault_at
from hopper.ids import slug_of
from instances.choices import HopperScope, TaskPriority
from scopes.rules.patterns import MAX_PATTERN, compiled
from scopes.settings import Scope, Scopes

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


# Phase 1 said `critical` where the task model says `urgent`.
Level = Annotated[
    TaskPriority,
    Field(strict=False),
    BeforeValidator(lambda word: "urgent" if word == "critical" else word),
]
Levels = Annotated[tuple[Level, ...], Field(strict=False)]
Destination = Annotated[str, AfterValidator(_destination)]
Pattern = Annotated[str, AfterValidator(_pattern)]
Patterns = Annotated[tuple[Pattern, ...], Field(strict=False)]


class BaseRule(Section):
    """The keys of every rule; `destination` is required outside a composite.

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
    """Matches whole words of title and description; without keywords every task."""

    type: Literal["keyword"]
    keywords: Words


class TagRule(BaseRule):
    """Matches all required tags, or without those one of the optional tags or patterns."""

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
    """Matches a list of priorities, or a range with both ends included."""

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
    """Matches an RE2 expression in the title or the beginning of the description."""

    type: Literal["pattern"]
    pattern: Pattern


class ProjectRule(BaseRule):
    """Matches the project that a task names."""

    type: Literal["project"]
    projects: Words


class CompositeRule(BaseRule):
    """Combines rules. and: all match; or: one matches; not: the only one does not match."""

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


class RuleTask(Section):
    """The fields of a task that rules read."""

    title: str = ""
    description: str = ""
    project: str = ""
    tags: Words = ()
    priority: Level = TaskPriority.MEDIUM


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
        """The ids of the rules in order, all different; a missing id is made from name or place."""
        taken = {DEFAULT, *(rule.id for rule in self.rules)}
        found = []
        for place, rule in enumerate(self.rules, start=1):
            more = (f"rule-{place}-{number}" for number in count(2))
            ways = chain((slug_of(rule.name), f"rule-{place}"), more)
            made = next(way for way in ways if way and way not in taken)
            found.append(rule.id or made)
            taken.add(found[-1])
        return tuple(found)
