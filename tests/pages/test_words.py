"""The five spellings of a name find the same things in the filter and the search (R25)."""

from __future__ import annotations

import pytest

from instances.models import HopperInstance, Task
from tests.factories import InstanceFactory, TaskFactory
from tests.pages.conftest import Person
from tests.spellings import CAFE, FIVE

Tree = dict[str, HopperInstance]


def test_every_spelling_of_a_name_finds_it(
    ada: Person, tree: Tree, subtests: pytest.Subtests
) -> None:
    InstanceFactory(scope="PROJECT", parent=tree["top"], name=CAFE, id="place")
    TaskFactory(instance=tree["web"], title="Of the project", project=CAFE)
    for word in FIVE:
        with subtests.test(ascii(word)):
            assert "/instances/place" in ada.see("/", q=word)
            found = ada.see("/find", q=word)
            assert "/instances/place" in found
            assert "Of the project" in found


def test_a_wrong_value_in_an_address_is_a_page_that_names_it(ada: Person, tree: Tree) -> None:
    TaskFactory(instance=tree["web"], title="At web")
    assert "must be one of 1h, 24h, 7d" in ada.see("/flow", 400, window="banana")
    assert "at most 200 characters" in ada.see("/find", 400, q="x" * 201)
    assert "At web" not in ada.see("/find", q="\u200b")


def test_a_form_takes_one_tag_however_it_is_spelt(ada: Person, tree: Tree) -> None:
    ada.press("/instances/top/add", title="Made", tags=", ".join(FIVE))
    task = Task.objects.get(title="Made")
    assert task.tags == [CAFE]
    boxes = {"title": "Made", "description": "", "priority": "low", "project": ""}
    ada.press(f"/tasks/{task.pk}/edit", **boxes, tags=f"x, {FIVE[1]}, {FIVE[2]}")
    task.refresh_from_db()
    assert task.tags == ["x", FIVE[1]]
