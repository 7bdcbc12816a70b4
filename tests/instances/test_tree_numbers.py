"""The tree's numbers have room: appends leave the rest where it is, and all stay nested."""

from __future__ import annotations

import random

import pytest

from hopper.errors import HopperError
from instances.models import HopperInstance
from instances.tree.numbers import unsound_places
from instances.tree.shape import create_instance, move_instance, rebuild_tree
from tests.factories import ALICE, InstanceFactory

pytestmark = [pytest.mark.unmeasured, pytest.mark.django_db]


def places() -> dict[str, tuple[int, int, int]]:
    """Return where every instance stands."""
    rows = HopperInstance.objects.values_list("pk", "tree_id", "lft", "rght")
    return {pk: (tree, left, right) for pk, tree, left, right in rows}


def pointed_to(instance_id: str) -> set[str]:
    """Return the instance and all below it, by the pointers alone."""
    children = HopperInstance.objects.filter(parent_id=instance_id).values_list("pk", flat=True)
    return {instance_id}.union(*map(pointed_to, children))


def assert_sound() -> None:
    """The numbers say what the pointers say."""
    assert list(unsound_places()) == []
    for instance in HopperInstance.objects.all():
        below = pointed_to(instance.pk)
        assert {row.pk for row in HopperInstance.objects.under(instance.pk)} == below
        assert {row.pk for row in instance.get_descendants(include_self=True)} == below
        assert instance.get_descendant_count() == len(below) - 1
        assert instance.is_leaf_node() == (len(below) == 1)
        above = {row.pk for row in instance.get_ancestors()}
        assert above == {line.id for line in instance.lineage()} - {instance.pk}


def test_few_appends_move_anything_that_is_there() -> None:
    top = InstanceFactory(name="top")
    middle, _ = (InstanceFactory(scope="PROJECT", parent=top) for _ in range(2))
    moving = 0
    for _ in range(100):
        before = places()
        create_instance(
            f"run-{len(before)}", scope="ORCHESTRATION", parent_id=middle.pk, actor=ALICE
        )
        now = places()
        moving += any(now[pk] != place for pk, place in before.items())
    assert moving <= 3
    assert_sound()


def test_children_stand_in_the_order_in_which_they_came() -> None:
    top = InstanceFactory(name="top")
    made = [InstanceFactory(scope="PROJECT", parent=top).pk for _ in range(40)]
    assert [row.pk for row in top.children.order_by("lft")] == made


@pytest.mark.parametrize("seed", range(5))
def test_a_tree_that_grows_and_is_moved_about_stays_nested(seed: int) -> None:
    chance = random.Random(seed)
    ids = [InstanceFactory(name=f"root-{number}", running=False).pk for number in range(2)]
    for step in range(60):
        scope = chance.choice(["PROJECT", "PERSONAL", "FAMILY", "ORCHESTRATION"])
        try:
            if chance.random() < 0.7:
                parent = chance.choice([*ids, None])
                made = create_instance(f"n{step}", scope=scope, parent_id=parent, actor=ALICE)
                ids.append(made.pk)
            else:
                move_instance(
                    chance.choice(ids), parent_id=chance.choice([*ids, None]), actor=ALICE
                )
        except HopperError:
            continue
        if chance.random() < 0.03:
            rebuild_tree()
    assert len(ids) > 10
    assert_sound()
