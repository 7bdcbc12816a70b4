"""The layout: what lies where, how it is named and how long it may get."""

from __future__ import annotations

import ast

import pytest

from tests.architecture.sources import ROOT, Source, where

CONCEPTS = {
    "instances": {
        "admin", "allowances", "api", "attention", "choices", "dashboard", "history", "lessons",
        "lifecycle", "mcp", "minutes", "models", "queue_settings", "rights", "settings", "signals",
        "site", "static", "tasks", "templates", "tokens", "tree", "waiting", "webhooks",
    },
    "scopes": {
        "admin", "api", "behaviors", "deciding", "decisions", "expectations", "feedback", "models",
        "record", "replay", "rules", "settings",
    },
    "delegation": {
        "admin", "api", "archive", "audit", "choices", "completion", "delegation_history",
        "delegator", "facts", "hop_sql", "instance_changes", "models", "offer_rules", "offers",
        "pages", "placing", "questions", "receivers", "router", "sweep", "transfer", "unplaced",
    },
}  # fmt: skip
"""The concepts of each room, one folder or file each."""
DJANGO_PARTS = {"__init__", "apps", "management", "migrations"}
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}
LONGEST_MODULE = 500
LONGEST_FUNCTION = 40


@pytest.mark.parametrize("room", sorted(CONCEPTS))
def test_a_room_has_its_concepts_and_nothing_else(room: str) -> None:
    parts = {path.name.removesuffix(".py") for path in (ROOT / room).iterdir()}
    assert parts - DJANGO_PARTS - {"__pycache__"} == CONCEPTS[room]


def test_no_module_has_a_vague_name() -> None:
    assert where(lambda source: VAGUE & set(source.path.removesuffix(".py").split("/"))) == {}


def test_a_module_says_in_its_first_line_what_it_is_for() -> None:
    assert where(lambda source: source.text.strip() and not ast.get_docstring(source.tree)) == {}


def test_a_module_is_short_enough_to_read() -> None:
    assert where(lambda source: source.text.count("\n") > LONGEST_MODULE) == {}


def test_a_function_is_short_enough_to_read() -> None:
    assert where(_long_functions) == {}


def _long_functions(source: Source) -> list[str]:
    return [
        f"{node.name} ({node.end_lineno - node.lineno + 1} lines)"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= LONGEST_FUNCTION
    ]
