"""`hopper_check --since` looks at what changed; the last result is there for whoever watches."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone

from delegation.audit import audit, extent, extent as memory
from hopper.database import snapshot
from instances.dashboard import dashboard
from instances.history import record, task_event
from instances.models import CheckRecord, Event, HopperInstance, InstanceLoad, Task
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.worlds import kept

pytestmark = pytest.mark.django_db(transaction=True)

A_DAY = timedelta(days=1)


def check(*arguments: str) -> dict[str, object]:
    out = StringIO()
    with suppress(SystemExit):
        call_command("hopper_check", "--json", *arguments, stdout=out)
    return dict(json.loads(out.getvalue()))


@pytest.fixture
@kept
def run() -> HopperInstance:
    web = InstanceFactory(scope="PROJECT", name="web")
    return InstanceFactory(scope="ORCHESTRATION", parent=web, name="run")


def break_(task: Task, *, told: bool) -> None:
    """Give a task a wrong status; `told`: something else happens to it at the same time."""
    Task.objects.filter(pk=task.pk).update(status="blocked", waiting={"code": "InputRequired"})
    if told:
        record(task_event(task, "task.updated", actor=ALICE, now=timezone.now()))


def long_ago() -> None:
    """Let all that has happened so far have happened yesterday."""
    Event.objects.update(at=timezone.now() - A_DAY)


@pytest.mark.parametrize(("told", "found"), [(True, True), (False, False)])
def test_only_what_changed_since_is_looked_at(run: HopperInstance, told: bool, found: bool) -> None:
    task = TaskFactory(instance=run)
    long_ago()
    break_(task, told=told)
    assert [finding.object for finding in audit(since=timezone.now())] == [task.pk] * found
    assert [finding.object for finding in audit()] == [task.pk]


def test_an_event_of_a_slow_clock_hides_nothing_that_came_before_it(run: HopperInstance) -> None:
    first, second, third = (TaskFactory(instance=run) for _ in range(3))
    long_ago()
    since = timezone.now()
    break_(first, told=True)
    # Its change waited for long, or its server's clock is late.
    record(task_event(second, "task.updated", actor=ALICE, now=since - A_DAY))
    assert [finding.object for finding in audit(since=since)] == [first.pk]
    break_(third, told=True)
    assert {finding.object for finding in audit(since=since)} == {first.pk, third.pk}


@pytest.mark.parametrize("step", [1, 2, 3, 100])
def test_the_look_back_ends_where_a_step_holds_nothing_new(
    run: HopperInstance, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(extent, "_STEP", step)
    old = TaskFactory(instance=run)
    break_(old, told=True)
    for _ in range(3):
        TaskFactory(instance=run)
    long_ago()
    last = Event.objects.latest("id").pk
    since = timezone.now()
    assert extent.Extent.since(since, since).after == last
    fresh = [TaskFactory(instance=run) for _ in range(5)]
    assert extent.Extent.since(since, since).after == last
    assert audit(since=since) == []
    for task in fresh:
        break_(task, told=True)
    assert {finding.object for finding in audit(since=since)} == {task.pk for task in fresh}


def test_the_check_looks_at_relatives_of_a_changed_row(run: HopperInstance) -> None:
    parent = TaskFactory(instance=run)
    child = TaskFactory(instance=run, parent_id=parent.pk)
    long_ago()
    # The child ends without its parent: only the child has an event.
    Task.objects.filter(pk=child.pk).update(status="done", finished_at=timezone.now())
    child.refresh_from_db()
    record(task_event(child, "task.done", actor=ALICE, now=timezone.now(), ending=True))
    assert ("I13", parent.pk) in {
        (found.invariant, found.object) for found in audit(since=timezone.now())
    }


def test_the_next_check_begins_where_all_was_last_found_sound(run: HopperInstance) -> None:
    first = check()
    assert (first["sound"], first["since"]) == (True, None)
    second = check("--since", "last")
    assert second["since"] == CheckRecord.objects.earliest("id").began_at.isoformat()
    break_(TaskFactory(instance=run), told=True)
    third, fourth = check("--since", "last"), check("--since", "last")
    assert (third["sound"], fourth["sound"]) == (False, False)
    assert third["since"] == fourth["since"] == CheckRecord.objects.all()[1].began_at.isoformat()


def test_without_a_sound_check_before_everything_is_looked_at(run: HopperInstance) -> None:
    InstanceLoad.objects.update(running=3)
    long_ago()
    assert check()["sound"] is False
    assert check("--since", "last")["since"] is None


@pytest.mark.parametrize("arguments", [["I3", "I4"], ["--since", "1h"]])
def test_a_check_of_a_part_says_nothing_of_the_whole(
    run: HopperInstance, arguments: list[str]
) -> None:
    InstanceLoad.objects.update(running=3)
    check()
    check(*arguments)
    assert [entry.broken for entry in CheckRecord.objects.all()] == [["I17"]]


def test_the_dashboard_shows_the_last_check(run: HopperInstance) -> None:
    assert dashboard()["last_check"] is None
    check()
    last = dashboard()["last_check"]
    assert (last["sound"], last["broken"]) == (True, [])
    assert dashboard()["tree_sound"] is True
    InstanceLoad.objects.update(running=3)
    HopperInstance.objects.filter(pk="run").update(level=5)
    check()
    assert dashboard()["last_check"]["broken"] == ["I16", "I17"]
    assert dashboard()["tree_sound"] is False


def test_old_results_are_forgotten_but_not_the_last_sound_one(
    run: HopperInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "KEPT", 3)
    check()
    sound = CheckRecord.objects.get()
    InstanceLoad.objects.update(running=3)
    for _ in range(5):
        check()
    assert CheckRecord.objects.count() == 4
    assert memory.last_sound() == sound.began_at


@pytest.mark.parametrize("when", ["90s", "15m", "2h", "1d", "2026-01-31T12:00:00Z", "2026-01-31"])
def test_since_takes_an_age_or_a_time(run: HopperInstance, when: str) -> None:
    assert check("--since", when)["sound"] is True


@pytest.mark.parametrize("when", ["yesterday", "2026-13-45T00:00:00Z", "5 m", ""])
def test_any_other_since_is_a_usage_error(when: str) -> None:
    with pytest.raises(CommandError, match="neither `last`") as refused:
        check("--since", when)
    assert refused.value.returncode == 2


def test_a_check_sees_one_moment_and_keeps_no_writer_waiting(run: HopperInstance) -> None:
    def create() -> str:
        try:
            return TaskFactory(instance=run).pk
        finally:
            connections.close_all()

    with snapshot(), ThreadPoolExecutor(1) as elsewhere:
        assert Task.objects.count() == 0
        written = elsewhere.submit(create).result(timeout=60)
        assert Task.objects.count() == 0
    assert Task.objects.get().pk == written
    assert audit() == []
