"""Lifecycle actions on the tree go through the services, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from instances.models import Event, HopperInstance, Task
from tests.factories import InstanceFactory, TaskFactory

if TYPE_CHECKING:
    from tests.admin.conftest import Family, Site

pytestmark = pytest.mark.unmeasured

TREE = "instances_hopperinstance"


def _status(instance: HopperInstance) -> str:
    return HopperInstance.objects.get(pk=instance.pk).status


@pytest.mark.parametrize(
    ("steps", "end"),
    [
        (["pause"], "paused"),
        (["pause", "resume"], "running"),
        (["stop"], "stopped"),
        (["stop", "start"], "running"),
        (["restart"], "running"),
    ],
)
def test_an_action_changes_the_status(
    site: Site, family: Family, steps: list[str], end: str
) -> None:
    for step in steps:
        said = site.act(TREE, step, family.run)
    assert said == [f"Now {end}: run."]
    assert _status(family.run) == end
    assert Event.objects.filter(instance=family.run, actor="alice").exists()


def test_recovering_needs_an_error_and_says_so(site: Site, family: Family) -> None:
    site.act(TREE, "pause", family.run)
    (why,) = site.act(TREE, "recover", family.run)
    assert why.startswith("Refused for run: ")
    assert "paused" in why


def test_one_refusal_does_not_keep_the_others_back(site: Site, family: Family) -> None:
    fresh = InstanceFactory(name="fresh", scope="PROJECT", parent=family.top, running=False)
    said = site.act(TREE, "pause", fresh, family.web, family.data)
    assert any(word.startswith("Refused for fresh: ") for word in said)
    assert "Now paused: web, data." in said
    assert [_status(one) for one in (fresh, family.web, family.data)] == [
        "created",
        "paused",
        "paused",
    ]


def test_terminating_asks_first(site: Site, family: Family) -> None:
    page = site.post(f"{TREE}_changelist", action="terminate", _selected_action=["run"])
    assert b"With everything below" in page.content
    assert _status(family.run) == "running"
    assert site.act(TREE, "terminate", family.run, apply="yes") == ["Now terminated: run."]
    assert _status(family.run) == "terminated"


def test_terminating_what_is_not_empty_needs_the_cascade(site: Site, family: Family) -> None:
    task = TaskFactory(instance=family.run)
    (why,) = site.act(TREE, "terminate", family.web, apply="yes")
    assert "1 live instance below it" in why
    assert _status(family.web) == "running"
    site.act(TREE, "terminate", family.web, apply="yes", cascade="on")
    assert (_status(family.web), _status(family.run)) == ("terminated", "terminated")
    assert Task.objects.get(pk=task.pk).instance_id == "top"


def test_other_staff_are_offered_no_actions(onlooker: Site, family: Family) -> None:
    assert b'name="action"' not in onlooker.get(f"{TREE}_changelist").content
    onlooker.act(TREE, "stop", family.run)
    assert _status(family.run) == "running"
