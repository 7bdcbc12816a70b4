"""Legal parents, ids that are never used twice, and legal moves (R1)."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from django.utils import timezone

from delegation.delegator import Delegator
from hopper.errors import Conflict, Invalid, RuleBroken
from hopper.protocol import PARENTS, ROOTS
from instances.choices import HopperScope
from instances.lifecycle.actions import stop_instance, terminate_instance, update_instance
from instances.models import HopperInstance
from instances.tree.shape import create_instance, move_instance
from tests.factories import ALICE, InstanceFactory, TaskFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]

# From the top down to where each scope can hang, so that one of every scope can be made.
LINES: dict[str, list[str]] = {
    "GLOBAL": ["GLOBAL"],
    "FAMILY": ["FAMILY"],
    "PERSONAL": ["PERSONAL"],
    "PROJECT": ["PROJECT"],
    "EVENT": ["GLOBAL", "EVENT"],
    "ORCHESTRATION": ["PROJECT", "ORCHESTRATION"],
    "FEDERATED": ["GLOBAL", "FEDERATED"],
}


def _make(scope: str, parent: HopperInstance | None = None, **values: object) -> HopperInstance:
    end = timezone.now() + timedelta(days=1) if scope == "EVENT" else None
    made: HopperInstance = InstanceFactory(
        scope=scope, parent=parent, running=False, expires_at=end, **values
    )
    return made


def _one_of(scope: str) -> HopperInstance:
    parent = None
    for step in LINES[scope]:
        parent = _make(step, parent)
    assert parent is not None
    return parent


@pytest.mark.parametrize(
    ("scope", "parent_scope"), list(itertools.product(HopperScope.values, HopperScope.values))
)
def test_only_the_parents_of_the_table_are_allowed(scope: str, parent_scope: str) -> None:
    parent = _one_of(parent_scope)
    if parent_scope in PARENTS[scope]:
        assert _make(scope, parent).parent_id == parent.pk
        return
    with pytest.raises(RuleBroken) as refusal:
        _make(scope, parent)
    assert refusal.value.extra["allowed"] == sorted(PARENTS[scope])


@pytest.mark.parametrize("scope", HopperScope.values)
def test_only_some_scopes_stand_alone(scope: str) -> None:
    if scope in ROOTS:
        assert _make(scope).depth() == 0
        return
    with pytest.raises(RuleBroken):
        _make(scope)


def test_a_run_has_phases_but_a_phase_has_none() -> None:
    phase = _make("ORCHESTRATION", _one_of("ORCHESTRATION"))
    with pytest.raises(RuleBroken):
        _make("ORCHESTRATION", phase)


def test_an_event_must_have_an_end() -> None:
    with pytest.raises(RuleBroken, match="expires_at"):
        create_instance("fair", scope="EVENT", parent_id=_one_of("GLOBAL").pk, actor=ALICE)


def test_a_tree_is_at_most_eight_levels_deep() -> None:
    parent = _make("GLOBAL")
    for scope in ("FAMILY", "PERSONAL", "PROJECT", "EVENT", "PROJECT", "EVENT", "PROJECT"):
        parent = _make(scope, parent)
    with pytest.raises(RuleBroken, match="at most 8 levels"):
        _make("ORCHESTRATION", parent)


def test_a_name_is_unique_among_live_siblings_only() -> None:
    top, other = _make("GLOBAL"), _make("GLOBAL")
    first = _make("PROJECT", top, name="web")
    with pytest.raises(Conflict) as refusal:
        _make("PROJECT", top, name="web")
    assert refusal.value.code == "name_taken"
    assert _make("PROJECT", other, name="web").pk == "web-2"
    terminate_instance(first.pk, actor=ALICE)
    assert _make("PROJECT", top, name="web").pk == "web-3"


def test_an_id_is_never_used_twice() -> None:
    top = _make("GLOBAL", id="top")
    terminate_instance(top.pk, actor=ALICE)
    with pytest.raises(Conflict) as refusal:
        _make("GLOBAL", id="top")
    assert refusal.value.code == "id_taken"


@pytest.mark.parametrize("wrong", ["", "Big", "-a", "a b", "ä", "a" * 101, "a\x00"])
def test_an_id_must_be_a_slug(wrong: str) -> None:
    with pytest.raises(Invalid, match="id:"):
        _make("GLOBAL", id=wrong)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Big Project", "big-project"),
        ("  !!! ", "project"),
        ("Ünïcode", "unicode"),
        ("v1.2", "v1.2"),
    ],
)
def test_an_id_is_made_of_the_name(name: str, slug: str) -> None:
    assert _make("PROJECT", name=name).pk == slug


def test_a_stopped_parent_takes_no_children() -> None:
    top = InstanceFactory()
    stop_instance(top.pk, actor=ALICE)
    with pytest.raises(Conflict) as refusal:
        _make("PROJECT", top)
    assert refusal.value.code == "parent_closed"


def test_a_move_takes_the_subtree_along() -> None:
    one, two = _make("GLOBAL"), _make("GLOBAL")
    project = _make("PROJECT", one)
    run = _make("ORCHESTRATION", project)
    move_instance(project.pk, parent_id=two.pk, actor=ALICE)
    assert [line.id for line in run.lineage()] == [two.pk, project.pk, run.pk]
    move_instance(project.pk, parent_id=None, actor=ALICE)
    assert [line.id for line in run.lineage()] == [project.pk, run.pk]


def test_nothing_moves_below_itself() -> None:
    event = _make("EVENT", _make("GLOBAL"))
    project = _make("PROJECT", event)
    with pytest.raises(RuleBroken) as refusal:
        move_instance(event.pk, parent_id=project.pk, actor=ALICE)
    assert refusal.value.code == "cycle"


def test_nothing_moves_while_an_offer_crosses_the_edge() -> None:
    top, other = InstanceFactory(), InstanceFactory()
    project = InstanceFactory(scope="PROJECT", parent=top)
    offer = Delegator(ALICE).delegate_task(TaskFactory(instance=top).pk, project.pk).delegation
    with pytest.raises(Conflict) as refusal:
        move_instance(project.pk, parent_id=other.pk, actor=ALICE)
    assert refusal.value.extra["delegations"] == [offer.pk]


def test_a_put_that_is_refused_in_part_writes_nothing() -> None:
    top = _make("GLOBAL", name="before")
    with pytest.raises(Conflict):
        update_instance(top.pk, changes={"name": "after", "status": "stopped"}, actor=ALICE)
    assert HopperInstance.objects.get(pk=top.pk).name == "before"
