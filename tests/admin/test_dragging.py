"""Dragging in the tree moves an instance through the service, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.test import Client
from django.urls import reverse

from instances.models import Event, HopperInstance
from tests.factories import InstanceFactory

if TYPE_CHECKING:
    from tests.admin.conftest import Family, Site


def _shape() -> list[Any]:
    return list(HopperInstance.objects.order_by("pk").values())


def _moves() -> int:
    return Event.objects.filter(kind="instance.moved").count()


def test_dropping_into_an_instance_hangs_it_there(site: Site, family: Family) -> None:
    assert site.drag(family.run, family.data) == ["Moved run under data."]
    family.run.refresh_from_db()
    assert family.run.parent_id == "data"
    assert Event.objects.get(kind="instance.moved").actor == "alice"


def test_dropping_beside_an_instance_hangs_it_under_the_same_parent(
    site: Site, family: Family
) -> None:
    phase = InstanceFactory(name="other run", scope="ORCHESTRATION", parent=family.data)
    for position in ("left", "right"):
        beside = phase if position == "left" else family.run
        site.drag(family.run, beside, position)
        family.run.refresh_from_db()
        assert family.run.parent_id == "data"
    assert _moves() == 1


def test_dropping_beside_a_root_makes_a_root(site: Site, family: Family) -> None:
    assert site.drag(family.data, family.top, "right") == ["Moved data to the top."]
    family.data.refresh_from_db()
    assert family.data.parent_id is None


def test_a_refused_drag_says_why_and_writes_nothing(site: Site, family: Family) -> None:
    before = _shape()
    (why,) = site.drag(family.run, family.top)
    assert "allowed parents" in why
    (why,) = site.drag(family.top, family.web)
    assert "cycle" in why or "always a root" in why
    assert _shape() == before
    assert _moves() == 0


def test_a_drag_of_nothing_known_writes_nothing(site: Site, family: Family) -> None:
    before = _shape()
    gone = HopperInstance(pk="gone")
    for what, to, position in [
        (gone, family.web, "last-child"),
        (family.run, gone, "last-child"),
        (family.run, family.data, "somewhere"),
        (HopperInstance(pk="\x00"), family.data, "left"),
    ]:
        assert len(site.drag(what, to, position)) == 1
    assert _shape() == before


def test_other_staff_cannot_drag(onlooker: Site, family: Family) -> None:
    before = _shape()
    assert onlooker.drag(family.run, family.data) == ["You may look at the tree, not change it."]
    assert _shape() == before


def test_a_drag_from_another_site_is_refused(site: Site, family: Family) -> None:
    stranger = Client(enforce_csrf_checks=True)
    stranger.cookies = site.client.cookies
    answer = stranger.post(
        reverse("admin:instances_hopperinstance_changelist"),
        {"cmd": "move_node", "position": "last-child", "cut_item": "run", "pasted_on": "data"},
    )
    assert answer.status_code == 403
    assert _moves() == 0
