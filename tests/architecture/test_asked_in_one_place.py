"""Questions that many modules have are answered by one."""

from __future__ import annotations

import ast

from tests.architecture.sources import Source, where


def _imported(source: Source) -> set[str]:
    imports = (node for node in ast.walk(source.tree) if isinstance(node, ast.ImportFrom))
    return {alias.name for node in imports for alias in node.names}


def _texts(source: Source) -> str:
    nodes = ast.walk(source.tree)
    texts = (node.value for node in nodes if isinstance(node, ast.Constant))
    return "\n".join(text for text in texts if isinstance(text, str)).lower()


def _says(words: str) -> dict[str, object]:
    return where(lambda source: words in _texts(source))


def test_rights_and_effective_statuses_come_from_standing_alone() -> None:
    assert where(lambda source: _imported(source) & {"ALLOWANCES", "effective_status"}) == {}


def test_one_module_says_that_there_is_no_such_instance() -> None:
    assert set(_says("there is no instance")) == {"instances/tree/status.py"}


def test_one_module_says_that_a_queue_is_full() -> None:
    assert set(_says("tasks waiting")) == {"instances/allowances.py"}


def test_the_claimable_condition_is_written_once() -> None:
    assert set(_says("not route_due")) <= {"instances/models/task.py"}
