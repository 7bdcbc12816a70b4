"""The faults that `make mutations` puts in still fit the code they are meant for."""

from __future__ import annotations

import ast

import pytest

from tests.mutations.__main__ import ROOT
from tests.mutations.seeds import MUTATIONS, Edit, Mutation


def _id(one: Mutation) -> str:
    return one.name


@pytest.mark.parametrize("mutation", MUTATIONS, ids=_id)
def test_the_line_that_a_fault_replaces_stands_there_exactly_once(mutation: Mutation) -> None:
    for edit in mutation.edits:
        text = (ROOT / edit.file).read_text(encoding="utf-8")
        assert text.count(edit.right) == 1, edit.right
        ast.parse(_wrong(text, edit))


@pytest.mark.parametrize("mutation", MUTATIONS, ids=_id)
def test_the_tests_that_should_notice_exist(mutation: Mutation) -> None:
    assert mutation.tests
    for test in mutation.tests:
        file, _, name = test.partition("::")
        assert (ROOT / file).exists(), file
        assert not name or f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")


def test_every_fault_has_a_name_of_its_own() -> None:
    assert len({one.name for one in MUTATIONS}) == len(MUTATIONS)


def _wrong(text: str, edit: Edit) -> str:
    wrong = text.replace(edit.right, edit.wrong)
    assert wrong != text
    return wrong
