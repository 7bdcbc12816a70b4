"""`hopper.protocol.EVENTS` names every kind of event, so that a mistyped one is refused."""

from __future__ import annotations

import ast
import re

from hopper.protocol import DELEGATION, EVENTS, INSTANCE, TASK
from instances.choices import AttemptOutcome
from tests.architecture.sources import sources

KIND = re.compile(r"(task|delegation|instance)\.[a-z_]+")
OTHER_NAMES = {"delegation.pages", "delegation.task", "instances"}
"""Names of an app and of columns, which look like kinds."""

FROM_WORDS = {
    *(f"instance.{status}" for status in INSTANCE.transitions),
    *(f"task.{status}" for status in TASK.transitions),
    *(f"task.{outcome}" for outcome in AttemptOutcome.values),
    *(f"delegation.{status}" for status in DELEGATION.transitions),
}
"""Kinds that the code makes from a status or from the outcome of an attempt."""


def written() -> set[str]:
    """Return each text in the code that looks like a kind."""
    return {
        node.value
        for source in sources()
        if source.path != "hopper/protocol.py"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if KIND.fullmatch(node.value)
    }


def test_each_kind_in_the_code_is_named() -> None:
    assert written() - OTHER_NAMES <= EVENTS.keys()


def test_each_named_kind_is_in_the_code() -> None:
    assert EVENTS.keys() <= written() | FROM_WORDS
