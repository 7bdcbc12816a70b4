"""`hopper_check` names exactly the invariant that was broken, and repairs what is derived."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from datetime import datetime, timedelta
from io import StringIO

import pytest
import pytest_django
import time_machine
from django.core.management import CommandError, call_command
from django.utils import timezone

from delegation.audit import INVARIANTS
from hopper import database
from instances.models import HopperInstance
from tests.operators import breakage, broken_questions, broken_tasks, broken_trees
from tests.soundness import kept, unsound

WAYS = (broken_questions, broken_tasks, broken_trees)
"""The modules that register ways to break an invariant."""

BREAKS = [pytest.param(number, how, id=how.__name__) for number, how in breakage.BREAKAGE]


@pytest.fixture(scope="module")
def built(
    django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker
) -> Iterator[tuple[breakage.World, breakage.Rows, datetime]]:
    """The sound world, built once, with its rows and its time: there are many ways to break it."""
    with django_db_blocker.unblock():
        world = breakage.build()
        yield world, breakage.rows(), timezone.now()
        call_command("flush", verbosity=0, interactive=False, reset_sequences=False)


@pytest.fixture
def world(
    built: tuple[breakage.World, breakage.Rows, datetime],
) -> Iterator[breakage.World]:
    """The sound world, made whole again, at the time when it was built."""
    world, rows, at = built
    breakage.restore(rows)
    with time_machine.travel(at):
        yield deepcopy(world)


def check(*arguments: str) -> tuple[int, str]:
    out, code = StringIO(), 0
    try:
        call_command("hopper_check", *arguments, stdout=out)
    except SystemExit as ended:
        code = int(ended.code or 0)
    return code, out.getvalue()


def report(*arguments: str) -> dict[str, object]:
    return dict(json.loads(check("--json", *arguments)[1]))


def test_a_sound_world_is_sound(world: breakage.World) -> None:
    code, out = check()
    assert code == 0
    assert "✗" not in out
    assert out.count("✓") == len(INVARIANTS)
    assert out.splitlines()[-1].startswith(f"sound ({len(INVARIANTS)} invariants, ")


@pytest.mark.parametrize(("number", "how"), BREAKS)
def test_the_check_names_the_broken_invariant_and_no_other(
    world: breakage.World, number: str, how: breakage.Break
) -> None:
    how(world)
    code, out = check("--json")
    answer = json.loads(out)
    assert code == 1
    assert answer["sound"] is False
    assert {finding["invariant"] for finding in answer["findings"]} == {number}
    broken = [one["number"] for one in answer["invariants"] if not one["sound"]]
    assert broken == [number]
    assert {finding.invariant for finding in unsound()} == {number}


@pytest.mark.django_db
def test_the_statements_that_the_tests_keep_differ_by_the_time_alone() -> None:
    now = database.now()
    # Compared as text: two `Jsonb` of one value differ.
    assert repr(kept(now)) == repr(kept(now - timedelta(hours=1)))


def test_all_invariants_are_asked_and_each_has_two_ways_to_be_broken() -> None:
    assert [one.number for one in INVARIANTS] == [f"I{number}" for number in range(1, 26)]
    ways = Counter(number for number, _ in breakage.BREAKAGE)
    assert all(ways[one.number] >= 2 for one in INVARIANTS)


def test_a_pointer_that_contradicts_the_numbers_is_found(world: breakage.World) -> None:
    broken_trees.point_elsewhere(world)
    findings = report("I16")["findings"]
    assert isinstance(findings, list)
    assert [finding["object"] for finding in findings] == [world.run.pk]


def test_findings_are_shown_below_their_invariant(world: breakage.World) -> None:
    broken_tasks.miscount(world)
    code, out = check()
    lines = out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("✗"))
    assert lines[at].split()[1] == "I17"
    assert lines[at + 1].strip() == "run: counts 5 live leases, but has 1"
    assert lines[-1].startswith("1 finding (")
    assert code == 1


def test_only_the_invariants_that_were_named_are_asked(world: breakage.World) -> None:
    broken_tasks.miscount(world)
    assert check("I4", "i3")[0] == 0
    numbers = [line.split()[1] for line in check("I4", "i3")[1].splitlines()[:-1]]
    assert numbers == ["I3", "I4"]


@pytest.mark.django_db
def test_an_unknown_invariant_is_a_usage_error() -> None:
    with pytest.raises(CommandError, match="No such invariant: I99") as refused:
        check("I99")
    assert refused.value.returncode == 2


@pytest.mark.parametrize(
    "how",
    [
        broken_trees.misplace_an_instance,
        broken_trees.overlap_two_intervals,
        broken_trees.point_elsewhere,
    ],
    ids=lambda how: how.__name__,
)
def test_fix_rebuilds_the_tree_numbers(world: breakage.World, how: breakage.Break) -> None:
    how(world)
    pointers = dict(HopperInstance.objects.values_list("pk", "parent_id"))
    code, out = check("--fix", "I16")
    assert code == 0
    assert out.startswith("fixed: rebuilt the tree numbers from the parent pointers (")
    assert dict(HopperInstance.objects.values_list("pk", "parent_id")) == pointers
    assert report("--fix", "I16")["fixed"] == []


def test_fix_counts_live_leases_again(world: breakage.World) -> None:
    broken_tasks.miscount(world)
    broken_tasks.lose_a_counter(world)
    code, out = check("--fix")
    assert code == 0
    assert "fixed: set the counter of run from 5 to 1 live leases" in out
    assert "fixed: made the counter of other: 0 live leases" in out


def test_fix_counts_open_tasks_again(world: breakage.World) -> None:
    broken_tasks.lose_the_counts_of_open_tasks(world)
    code, out = check("--fix")
    assert code == 0
    assert "fixed: set the open count of run from 0 to 2 tasks" in out


def test_fix_leaves_alone_what_is_not_derived(world: breakage.World) -> None:
    broken_trees.disorder_the_path(world)
    code, out = check("--fix")
    assert code == 1
    assert "fixed: nothing" in out
    assert "✗ I3" in out


def test_the_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call_command("hopper_check", "--help")
    assert "hopper check --fix" in capsys.readouterr().out
