"""The rules engine: the rules that match a task, best first, and the expectations of the file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hopper.config.document import Document, Problem
from hopper.config.files import ConfigFile
from scopes.decisions import TaskFacts
from scopes.rules.matchers import Reading, match
from scopes.rules.schema import DEFAULT, RuleFile

RULES = ConfigFile("routing_rules.yaml", lambda: RuleFile)


def check_rules(value: RuleFile, document: Document) -> Iterable[Problem]:
    """Yield a fault for each rule without a destination or a usable id."""
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


@dataclass(frozen=True)
class Suggestion:
    """A destination that a rule suggests. `confidence` is strength times weight, 0 to 1.

    `by_project` says that the rule goes by the project a task names.
    """

    rule_id: str
    destination: str
    priority: int
    confidence: float
    reason: str
    by_project: bool = False


def suggestions(file: RuleFile, task: TaskFacts, scope: str) -> list[Suggestion]:
    """Return every enabled rule that counts at `scope` and matches, the best first.

    The rest are the alternatives. The highest evaluation priority comes first, then confidence,
    then the order in the file. The default destination comes last, and only where no rule matches.
    """
    reading = Reading(task)
    found = []
    for name, rule in zip(file.ids, file.rules, strict=True):
        if not rule.enabled or (rule.scopes and scope not in rule.scopes):
            continue
        matched = match(rule, reading)
        if matched is not None and rule.destination is not None:
            confidence = round(matched.strength * rule.weight, 4)
            found.append(
                Suggestion(
                    name,
                    rule.destination,
                    rule.priority,
                    confidence,
                    matched.reason,
                    by_project=rule.type == "project",
                )
            )
    if not found and file.default_destination:
        return [Suggestion(DEFAULT, file.default_destination, 0, 0.1, "no rule matches")]
    return sorted(found, key=lambda one: (-one.priority, -one.confidence))


def failed_expectations(file: RuleFile, document: Document) -> Iterable[Problem]:
    """Yield a fault for each expectation that the file's own rules do not meet."""
    for index, expectation in enumerate(file.expectations):
        given = expectation.task
        task = TaskFacts(
            id="",
            title=given.title,
            description=given.description,
            project=given.project,
            tags=given.tags,
            priority=given.priority,
        )
        best = next(iter(suggestions(file, task, expectation.scope)), None)
        reached = best.destination if best else None
        if reached != expectation.destination:
            why = f" by {best.rule_id} ({best.reason})" if best else ""
            yield document.problem(
                ("expectations", index),
                f"{expectation.name or given.title!r} goes to {reached or 'nowhere'}{why}, "
                f"expected {expectation.destination or 'nowhere'}",
            )
