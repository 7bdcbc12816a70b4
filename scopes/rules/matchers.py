"""The match of a rule with a task, its strength and its reason: one function per type of rule."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from hopper.words import key_of, keys_of, plain
from instances.choices import TaskPriority
from scopes.decisions import TaskFacts
from scopes.rules.patterns import occurs
from scopes.rules.schema import (
    AnyRule,
    CompositeRule,
    KeywordRule,
    PatternRule,
    PriorityRule,
    ProjectRule,
    TagRule,
)

MAX_TEXT = 20_000
"""Characters of title and description that are searched for words; patterns see 2,000."""

_PATTERN_TEXT = 2_000
_ORDER = list(TaskPriority)


@dataclass(frozen=True)
class Match:
    """A rule's match: its strength (0 to 1, before the weight) and the reason in words."""

    strength: float
    reason: str


class Reading:
    """A task as the matchers read it: brought to the form of comparison once (R25)."""

    def __init__(self, task: TaskFacts) -> None:
        self.raw = plain(f"{task.title}\n{task.description}"[:MAX_TEXT])
        self.text = key_of(self.raw)
        self.words = frozenset(re.findall(r"\w+", self.text))
        self.tags = {key_of(tag): tag for tag in task.tags}
        self.project = key_of(task.project)
        self.priority = task.priority

    def has(self, phrase: str) -> bool:
        """Return whether the phrase stands in the text as whole words, whatever the case."""
        key, is_word = _phrase(phrase)
        if is_word:
            return key in self.words
        return bool(key) and key in self.text and bool(_whole(key).search(self.text))

    def found(self, phrases: Iterable[str]) -> list[str]:
        """Return the phrases that stand in the text."""
        return [phrase for phrase in phrases if self.has(phrase)]


def match(rule: AnyRule, task: Reading) -> Match | None:
    """Return the match of `rule`, or None without one. The caller looks at `enabled`."""
    if isinstance(rule, KeywordRule):
        return _keyword(rule, task)
    if isinstance(rule, TagRule):
        return _tag(rule, task)
    if isinstance(rule, PriorityRule):
        return _priority(rule, task)
    if isinstance(rule, PatternRule):
        found = occurs(rule.pattern, task.raw[:_PATTERN_TEXT])
        return Match(1.0, f"pattern {rule.pattern}") if found else None
    if isinstance(rule, ProjectRule):
        named = task.project and task.project in keys_of(rule.projects)
        return Match(1.0, f"project {task.project}") if named else None
    return _composite(rule, task)


def _keyword(rule: KeywordRule, task: Reading) -> Match | None:
    if not rule.keywords:
        return Match(0.5, "catches everything")
    found = task.found(rule.keywords)
    return Match(_grows(len(found)), f"keywords {', '.join(found)}") if found else None


def _tag(rule: TagRule, task: Reading) -> Match | None:
    required = [tag for tag in rule.required_tags if key_of(tag) in task.tags]
    if len(required) < len(rule.required_tags):
        return None
    wanted = keys_of(rule.optional_tags)
    found = {
        original
        for key, original in task.tags.items()
        if key in wanted or any(occurs(one, plain(original)) for one in rule.tag_patterns)
    }
    found |= set(required)
    return Match(_grows(len(found)), f"tags {', '.join(sorted(found))}") if found else None


def _priority(rule: PriorityRule, task: Reading) -> Match | None:
    if task.priority in rule.priorities:
        return Match(1.0, f"priority {task.priority}")
    if not (rule.min_priority or rule.max_priority):
        return None
    low = _ORDER.index(rule.min_priority) if rule.min_priority else 0
    high = _ORDER.index(rule.max_priority) if rule.max_priority else len(_ORDER) - 1
    within = low <= _ORDER.index(TaskPriority(task.priority)) <= high
    return Match(0.8, f"priority {task.priority} in range") if within else None


def _composite(rule: CompositeRule, task: Reading) -> Match | None:
    in_use = [sub for sub in rule.sub_rules if _in_use(sub)]
    matches = [
        Match(one.strength * sub.weight, one.reason)
        for sub in in_use
        if (one := match(sub, task)) is not None
    ]
    if rule.operator == "not":
        named = [sub.name or sub.type for sub in in_use]
        return Match(1.0, f"not {named[0]}") if named and not matches else None
    if not matches or (rule.operator == "and" and len(matches) < len(in_use)):
        return None
    strengths = [one.strength for one in matches]
    strength = max(strengths) if rule.operator == "or" else sum(strengths) / len(strengths)
    word = "all of" if rule.operator == "and" else "one of"
    return Match(strength, f"{word}: {'; '.join(one.reason for one in matches)}")


def _in_use(rule: AnyRule) -> bool:
    """Return whether a rule is enabled, and for a composite also one of its own rules."""
    if isinstance(rule, CompositeRule):
        return rule.enabled and any(map(_in_use, rule.sub_rules))
    return rule.enabled


def _grows(count: int) -> float:
    """Return a strength that grows with every hit and never reaches one."""
    return float(1 - 0.5**count)


@lru_cache(maxsize=16_384)
def _phrase(phrase: str) -> tuple[str, bool]:
    """Return the key of the phrase, and whether it is a single word."""
    key = key_of(phrase)
    return key, re.fullmatch(r"\w+", key) is not None


@lru_cache(maxsize=4096)
def _whole(phrase: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(phrase)}(?!\w)")
