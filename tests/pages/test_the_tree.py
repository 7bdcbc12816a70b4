"""The tree: every instance with its work, folded, filtered by words."""

from __future__ import annotations

import re

from instances.lifecycle.actions import pause_instance
from instances.models import HopperInstance
from instances.tasks.worker import claim_next, complete_task, fail_task
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.pages.conftest import SCRIPT, Person

Tree = dict[str, HopperInstance]


def rows(page: str) -> list[str]:
    """Return the ids of the rows, in their order."""
    return re.findall(r'<tr id="i-([^"]+)"', page)


def test_parents_stand_before_their_children_and_siblings_by_name(ada: Person) -> None:
    assert rows(ada.see("/")) == ["top", "ops", "ops-run", "web", "web-run"]


def test_a_row_shows_leases_waiting_tasks_and_the_most_pressing_wait(
    ada: Person, tree: Tree
) -> None:
    for _ in range(3):
        TaskFactory(instance=tree["web-run"])
    claim_next("web-run", worker="bob", actor=ALICE)
    assert re.search(r"running ready for a worker 2 1/10 2 \d+ s", ada.row("web-run"))
    pause_instance("web", actor=ALICE)
    assert "paused own: running paused above 2 1/10 2" in ada.row("web-run")


def test_a_folded_row_has_the_sums_of_all_below(ada: Person, tree: Tree) -> None:
    phase = InstanceFactory(scope="ORCHESTRATION", parent=tree["web-run"], name="phase")
    for place in (phase, tree["web-run"]):
        TaskFactory(instance=place)
    page = ada.see("/")
    row = re.search(r'<tr id="i-web-run".*?</tr>', page, re.DOTALL)
    assert row is not None
    assert 'aria-expanded="false"' in row[0]
    assert re.findall(r'class="(?:own|all)">(\d+)<', row[0]) == ["1", "2"]
    hidden = re.search(r'<tr id="i-phase"[^>]*>', page)
    assert hidden is not None
    assert " hidden" in hidden[0]


def test_dead_letters_and_the_work_of_the_last_hour_are_shown(ada: Person, tree: Tree) -> None:
    for _ in range(3):
        TaskFactory(instance=tree["web-run"])
    first, second = claim_next("web-run", worker="w", limit=2, actor=ALICE).leases
    complete_task(first.task.pk, token=first.token, actor=ALICE)
    fail_task(second.task.pk, token=second.token, retryable=False, actor=ALICE)
    assert "failed" in ada.row("web-run")
    page = ada.see("/")
    assert page.count('aria-label="1 done in the last hour"') == 3  # there, and at all above


def test_words_filter_the_rows_and_keep_those_above(ada: Person, tree: Tree) -> None:
    TaskFactory(instance=tree["top"])
    TaskFactory(instance=tree["web-run"])
    assert rows(ada.see("/", q="scope:project")) == ["top", "ops", "web"]
    assert rows(ada.see("/", q="reason:readyforworker")) == ["top", "web", "web-run"]
    assert rows(ada.see("/", q="stuck")) == ["top"]
    assert rows(ada.see("/", q="run scope:orchestration OPS")) == ["top", "ops", "ops-run"]
    page = ada.see("/", q="no-such-name")
    assert rows(page) == []
    assert "No instance fits these words" in page


def test_the_filter_stays_in_its_box(ada: Person) -> None:
    assert 'value="&quot;&gt;&lt;b&gt;"' in ada.see("/", q='"><b>')


def test_the_children_of_a_branch_come_alone(ada: Person, tree: Tree) -> None:
    answer = ada.get("/?under=top&level=1", headers=SCRIPT)
    page = answer.content.decode()
    assert rows(page) == ["ops", "web"]
    assert 'aria-level="2"' in page


def test_an_empty_tree_says_how_to_begin(person: object, transactional_db: None) -> None:
    page = person("ada").see("/")  # type: ignore[operator]
    assert "hopper instance create hopper-global --scope GLOBAL --start" in page


def test_without_the_script_each_row_leads_to_its_instance(ada: Person, tree: Tree) -> None:
    assert 'href="/instances/web-run"' in ada.see("/")
    assert "Tasks here" in ada.see("/instances/web-run")
    assert "Terminate" in ada.see("/instances/web-run?menu")
