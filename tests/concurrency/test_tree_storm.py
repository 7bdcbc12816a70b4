"""Eight processes shake the tree while four route tasks: it stays sound, nobody deadlocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from delegation.sweep import sweep
from instances.models import HopperInstance, Task
from tests.concurrency.crowd import crowd
from tests.factories import InstanceFactory
from tests.soundness import unsound

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.postgres, pytest.mark.storm, pytest.mark.django_db(transaction=True)]

MEMBERS = "tests.concurrency.members"
HARMLESS = {"path_crosses", "parent_closed", "not_empty", "conflict", "not_found", "invalid"}


def _below_by_pointers() -> dict[str, set[str]]:
    parents = dict(HopperInstance.objects.values_list("pk", "parent_id"))
    below: dict[str, set[str]] = {pk: {pk} for pk in parents}
    for pk in parents:
        above = parents[pk]
        while above is not None:
            below[above].add(pk)
            above = parents[above]
    return below


def test_the_tree_stays_sound_while_it_is_shaken_and_routed_through(
    child_environ: dict[str, str], storm: Callable[[int, int], int]
) -> None:
    seconds = storm(5, 30)
    top = InstanceFactory(name="top")
    for n in range(4):
        InstanceFactory(scope="PROJECT", parent=top, name=f"p{n}", config={"capabilities": ["x"]})

    # One crowd, so that all begin together.
    outcomes = crowd(
        child_environ,
        f"{MEMBERS}:shake_or_route",
        [("shake", seed, seconds) for seed in range(8)]
        + [("route", seed, seconds) for seed in range(4)],
    )

    refused = {code for outcome in outcomes[:8] for code in outcome}
    routed = sum(outcomes[8:])
    assert refused <= HARMLESS
    assert routed > 0
    assert Task.objects.count() == routed
    below = _below_by_pointers()
    for instance_id, expected in below.items():
        by_range = set(HopperInstance.objects.under(instance_id).values_list("pk", flat=True))
        assert by_range == expected
    sweep()
    assert unsound() == []
