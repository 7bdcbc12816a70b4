"""The tree shows each instance with its scope, its status in effect and its tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from instances.admin.tree import tallies_of
from instances.lifecycle.actions import pause_instance, terminate_instance
from instances.models import HopperInstance
from instances.tasks.ending import cancel_task
from tests.factories import ALICE, InstanceFactory, TaskFactory

if TYPE_CHECKING:
    from tests.admin.conftest import Family, Site


def test_a_paused_parent_shows_in_its_children(site: Site, family: Family) -> None:
    pause_instance(family.web.pk, actor=ALICE)
    tallies = tallies_of(HopperInstance.objects.all())
    assert {pk: tally.effective for pk, tally in tallies.items()} == {
        "top": "running",
        "web": "paused",
        "run": "paused",
        "data": "running",
    }


def test_tasks_are_counted_here_and_below(site: Site, family: Family) -> None:
    TaskFactory(instance=family.run)
    ended = TaskFactory(instance=family.run)
    cancel_task(ended.pk, actor=ALICE)
    TaskFactory(instance=None)
    tallies = tallies_of(HopperInstance.objects.all())
    run, web, top, data = (tallies[pk] for pk in ("run", "web", "top", "data"))
    assert (run.open, run.total, run.open_below, run.total_below) == (1, 2, 1, 2)
    assert (web.open, web.total, web.open_below, web.total_below) == (0, 0, 1, 2)
    assert (top.open_below, top.total_below) == (1, 2)
    assert (data.open_below, data.total_below) == (0, 0)


def test_children_are_indented_below_their_parents(site: Site, family: Family) -> None:
    page = site.get("instances_hopperinstance_changelist").content.decode()
    places = [page.index(f'data-pk="{pk}" data-level="{level}"') for pk, level in (
        ("top", 0), ("web", 1), ("run", 2), ("data", 1),
    )]  # fmt: skip
    assert places == sorted(places)


def test_terminated_instances_are_shown_when_asked_for(site: Site, family: Family) -> None:
    gone = InstanceFactory(name="gone", scope="PROJECT", parent=family.top)
    terminate_instance(gone.pk, actor=ALICE)
    page = "/admin/instances/hopperinstance/"
    marker = b'data-pk="gone"'
    assert marker not in site.client.get(page).content
    assert marker in site.client.get(page, {"life": "all"}).content
    only = site.client.get(page, {"life": "terminated"}).content
    assert marker in only
    assert b'data-pk="web"' not in only
