"""The counts by the minute are those of the feed: each event once, however the counting stops."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.db.models import F
from django.utils import timezone
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.extra.django import TransactionTestCase

from delegation.delegator import Delegator
from hopper.actors import SYSTEM
from instances import minutes
from instances.history import feed
from instances.minutes import count_events, counts_since
from instances.models import Event, HopperInstance, MinuteCount, SweepRecord, Task
from instances.tasks.leases import expire_lease, overdue_leases
from instances.tasks.worker import claim_next, complete_task, fail_task
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.protocol.random_life import STEPS, RandomLife

pytestmark = [pytest.mark.unmeasured, pytest.mark.django_db(transaction=True)]

A_DAY = timedelta(days=1)


def stored() -> Counter[minutes.Key]:
    rows = MinuteCount.objects.values_list("minute", "instance_id", "what", "number")
    return Counter({tuple(key): number for *key, number in rows})


def totals() -> dict[str, int]:
    """Return the counts of the last hour by thing."""
    found: Counter[str] = Counter()
    for (_, _, what), number in counts_since(timezone.now() - timedelta(hours=1)).items():
        # How long a task waited depends on the machine.
        found["waited" if what.startswith(minutes.WAITED) else what] += number
    return found


@pytest.fixture
def run() -> HopperInstance:
    top = InstanceFactory(name="top")
    web = InstanceFactory(scope="PROJECT", parent=top, name="web")
    return InstanceFactory(scope="ORCHESTRATION", parent=web, name="run")


def work(run: HopperInstance) -> None:
    """Create four tasks; one is done, one fails, one is lost with its worker, one is refused."""
    for _ in range(3):
        TaskFactory(instance=run)
    done, failed, _ = claim_next(run.pk, worker="w", limit=3, actor=ALICE).leases
    complete_task(done.task.pk, token=done.token, actor=ALICE)
    fail_task(failed.task.pk, token=failed.token, retryable=False, actor=ALICE)
    with time_machine.travel(timezone.now() + timedelta(minutes=10)):
        for lost in overdue_leases(limit=5):
            expire_lease(lost, SYSTEM)
    refused = TaskFactory(instance=HopperInstance.objects.get(pk="top"))
    offer = Delegator(ALICE).delegate_task(refused.pk, "web").delegation
    Delegator(ALICE).reject_delegation(offer.pk, reason="no")


@pytest.mark.parametrize("counted", [True, False])
def test_each_thing_that_happens_is_counted(run: HopperInstance, counted: bool) -> None:
    work(run)
    if counted:
        assert count_events() == Event.objects.count()
    wanted = {
        "created": 4, "claimed": 3, "waited": 3, "done": 1, "done_below": 3, "failed": 1,
        "rescued": 1, "refused rejected": 1,
    }  # fmt: skip
    assert totals() == wanted


def test_a_wait_counts_under_the_least_bound_that_holds_it(run: HopperInstance) -> None:
    for seconds in (0.5, 1.5, 59, 61, 10**7):
        task = TaskFactory(instance=run)
        Task.objects.filter(pk=task.pk).update(created_at=timezone.now() - timedelta(days=400))
        claim_next(run.pk, worker="w", actor=ALICE)
        claimed = Event.objects.get(task=task.pk, kind="task.claimed")
        made = claimed.at - timedelta(seconds=seconds)
        Task.objects.filter(pk=task.pk).update(created_at=made)
    count_events()
    bounds = {what for _, _, what in stored() if what.startswith(minutes.WAITED)}
    assert bounds == {f"waited {n}" for n in (1, 2, 60, 120, minutes.LONGER)}


def test_done_below_counts_at_every_instance_above(run: HopperInstance) -> None:
    work(run)
    count_events()
    since = timezone.now() - timedelta(hours=1)
    counts = counts_since(since, what=minutes.DONE_BELOW, by_instance=True)
    assert {place for _, place, _ in counts} == {"top", "web", "run"}
    own = counts_since(since, HopperInstance.objects.filter(pk="web"), by_instance=True)
    assert {place for _, place, _ in own} == {"web"}


def test_a_second_count_counts_nothing(run: HopperInstance) -> None:
    work(run)
    count_events()
    before = stored()
    assert count_events() == 0
    assert stored() == before


def test_a_failure_in_the_middle_counts_nothing_twice(
    run: HopperInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(run)
    monkeypatch.setattr(minutes, "EVENTS_AT_ONCE", 3)
    whole = minutes.tally(feed(Event.objects.all()))
    note, left = SweepRecord.note_counted, [2]

    def fail(*arguments: object) -> None:
        left[0] -= 1
        if not left[0]:
            raise RuntimeError
        note(*arguments)

    monkeypatch.setattr(SweepRecord, "note_counted", fail)
    with pytest.raises(RuntimeError):
        count_events()
    count_events(rounds=1000)
    assert stored() == whole


@pytest.mark.postgres
def test_two_counters_at_once_count_each_event_once(
    run: HopperInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(run)
    monkeypatch.setattr(minutes, "EVENTS_AT_ONCE", 2)
    whole = minutes.tally(feed(Event.objects.all()))

    def count() -> None:
        for _ in range(15):
            count_events()
        connection.close()

    counters = [threading.Thread(target=count) for _ in range(3)]
    for one in counters:
        one.start()
    for one in counters:
        one.join()
    assert stored() == whole


def test_old_counts_are_forgotten(run: HopperInstance) -> None:
    work(run)
    count_events()
    MinuteCount.objects.filter(what="created").update(minute=F("minute") - 40 * A_DAY)
    count_events()
    assert "created" not in {what for _, _, what in stored()}
    assert "done" in {what for _, _, what in stored()}


class EveryLife(TransactionTestCase):
    """The table equals a count of the whole feed, wherever and how often it was counted."""

    @settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(st.tuples(st.sampled_from([*STEPS, "count"]), st.text(max_size=5)), max_size=25),
        st.integers(1, 7),
    )
    def test_recount(self, steps: list[tuple[str, str]], at_once: int) -> None:
        life = RandomLife()
        life.plant()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(minutes, "EVENTS_AT_ONCE", at_once)
            for name, luck in steps:
                if name == "count":
                    count_events(rounds=2)
                else:
                    life.step(name, luck)
            count_events(rounds=100_000)
        assert stored() == minutes.tally(feed(Event.objects.all()))
