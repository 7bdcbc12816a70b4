"""The front page tells the figures; a record tells its load and settings and leads to verbs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from instances.admin import tree
from instances.models import HopperInstance
from instances.tasks.ending import cancel_task
from instances.tasks.worker import claim_next, fail_task
from tests.factories import ALICE, TaskFactory

if TYPE_CHECKING:
    from tests.admin.conftest import Family, Site

DJANGO_TIME = re.compile(r"\b[ap]\.m\.|\b(noon|midnight)\b")


def test_the_front_page_shows_figures_and_links_to_the_pages(site: Site, family: Family) -> None:
    TaskFactory(instance=family.run)
    TaskFactory(instance=family.web)
    page = site.get("index").content.decode()
    figures = " ".join(re.sub(r"<[^>]+>", " ", page[page.index("hopper-figures") :]).split())
    assert "2 PROJECT running" in figures
    assert "2 tasks pending" in figures
    assert 'href="/"' in page
    assert 'href="/attention"' in page


def test_an_instance_shows_its_load_children_tasks_and_settings(site: Site, family: Family) -> None:
    task = TaskFactory(instance=family.run, title="waits here")
    TaskFactory(instance=family.run)
    claim_next("run", worker="w-1", actor=ALICE)
    page = site.get("instances_hopperinstance_change", "run").content.decode()
    for words in ("1 / 10", "waits here", "w-1", "lease_seconds", "shipped"):
        assert words in page
    assert task.pk in page
    page = site.get("instances_hopperinstance_change", "web").content.decode()
    assert "/admin/instances/hopperinstance/run/change/" in page
    assert "Children" in page


def buttons(page: str) -> list[str]:
    return re.findall(r'<li><a href="(/(?:instances|tasks)/[^"]*)">', page)


def test_a_record_has_a_button_for_each_verb_that_its_state_allows(
    site: Site, family: Family
) -> None:
    def shown(model: str, pk: str) -> list[str]:
        return buttons(site.get(f"instances_{model}_change", pk).content.decode())

    run = [f"/instances/run/{verb}" for verb in ("stop", "pause", "terminate")]
    assert shown("hopperinstance", "run") == [*run, "/instances/run"]
    first, second = (TaskFactory(instance=family.run) for _ in range(2))
    assert shown("task", first.pk) == [f"/tasks/{first.pk}/cancel", f"/tasks/{first.pk}"]
    cancel_task(first.pk, actor=ALICE)
    assert shown("task", first.pk) == [f"/tasks/{first.pk}/retry", f"/tasks/{first.pk}"]
    lease = claim_next("run", worker="w", actor=ALICE).leases[0]
    fail_task(second.pk, token=lease.token, error="no", retryable=False, actor=ALICE)
    verbs = [f"/tasks/{second.pk}/{verb}" for verb in ("retry", "discard")]
    assert shown("task", second.pk) == [*verbs, f"/tasks/{second.pk}"]


def test_other_staff_have_no_buttons(onlooker: Site, family: Family) -> None:
    page = onlooker.get("instances_hopperinstance_change", "run").content.decode()
    assert buttons(page) == []


def test_the_way_back_from_a_question_is_no_second_cancel(site: Site, family: Family) -> None:
    task = TaskFactory(instance=family.run)
    answer = site.post("instances_task_changelist", action="cancel", _selected_action=[task.pk])
    page = answer.content.decode()
    assert 'value="Cancel these tasks"' in page
    assert "Back, change nothing" in page
    assert ">Cancel<" not in page


def test_all_times_have_one_form(site: Site, family: Family) -> None:
    task = TaskFactory(instance=family.run)
    made = f"{task.created_at:%Y-%m-%d %H:%M:%S}"
    for page in (
        site.get("instances_task_change", task.pk),
        site.get("instances_task_changelist"),
    ):
        text = page.content.decode()
        assert made in text
        assert not DJANGO_TIME.search(text)


def test_a_large_tree_is_shown_part_by_part(
    site: Site, family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(query: str = "") -> list[str]:
        page = site.client.get(f"/admin/instances/hopperinstance/{query}").content.decode()
        found = re.findall(r'href="/admin/instances/hopperinstance/(\w+)/change/', page)
        return [*found, *(f"{pk}..." for pk in re.findall(r'href="\?below=(\w+)">show', page))]

    assert set(rows()) == {"top", "web", "run", "data"}
    monkeypatch.setattr(tree, "TREE_SHOWN", 3)
    assert set(rows()) == {"top", "web", "data", "web..."}
    assert set(rows("?below=web")) == {"top", "web", "run", "top..."}
    assert set(rows("?q=run")) == {"run"}
    assert rows("?below=nothing") == []
    assert HopperInstance.objects.count() == 4
