"""Questions that many modules have are answered by one."""

from __future__ import annotations

import ast

import pytest

from tests.architecture.sources import Source, sources

every_source = pytest.mark.parametrize("source", sources(), ids=lambda source: source.path)


def _imported(source: Source) -> set[str]:
    imports = (node for node in ast.walk(source.tree) if isinstance(node, ast.ImportFrom))
    return {alias.name for node in imports for alias in node.names}


def _texts(source: Source) -> str:
    nodes = ast.walk(source.tree)
    texts = (node.value for node in nodes if isinstance(node, ast.Constant))
    return "\n".join(text for text in texts if isinstance(text, str)).lower()


@every_source
def test_rights_and_effective_statuses_come_from_standing_alone(source: Source) -> None:
    assert not _imported(source) & {"ALLOWANCES", "effective_status"}


@every_source
def test_one_module_says_that_there_is_no_such_instance(source: Source) -> None:
    if source.path != "instances/tree/status.py":
        assert "there is no instance" not in _texts(source)


@every_source
def test_one_module_says_that_a_queue_is_full(source: Source) -> None:
    if source.path != "instances/allowances.py":
        assert "tasks waiting" not in _texts(source)


@every_source
def test_the_claimable_condition_is_written_once(source: Source) -> None:
    if source.path != "instances/models/task.py":
        assert "not route_due" not in _texts(source)
