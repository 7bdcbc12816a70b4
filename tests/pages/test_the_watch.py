"""The watch keeps a picture of the tree by small reads: it equals the tables after any work."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from django.db.models import Min

from delegation.pages import watch as watching
from delegation.pages.watch import Watch
from hopper.actors import EVERYWHERE, Actor
from hopper.errors import HopperError
from instances.api.permissions import held_tasks, visible_instances
from instances.attention import Attention
from instances.lifecycle.actions import (
    pause_instance,
    resume_instance,
    stop_instance,
    terminate_instance,
)
from instances.models import HopperInstance, Question, Task, Webhook
from instances.tasks.questions import NewQuestion, answer_question, ask
from instances.tasks.worker import claim_next, complete_task, fail_task
from instances.tree.shape import move_instance
from instances.waiting import waiting_on
from instances.webhooks.subscriptions import add_webhook
from tests.factories import ALICE, InstanceFactory, TaskFactory

pytestmark = pytest.mark.unmeasured

Tree = dict[str, HopperInstance]
PLACES = ("top", "web", "web-run", "ops", "ops-run")


def actor(place: str) -> Actor:
    return Actor("eve", {place: "viewer"}, "user:7")


def assert_true(watch: Watch) -> None:
    """Compare each row, and what three callers need to look at, with the tables."""
    assert watch.rows.keys() == set(HopperInstance.objects.live().values_list("pk", flat=True))
    for pk, row in watch.rows.items():
        here = Task.objects.filter(instance=pk)
        reasons = waiting_on(here.open()).values()
        assert row.own.reasons == Counter(reason["code"] for reason in reasons), pk
        pending = here.filter(status="pending")
        assert (row.own.backlog, row.own.failed) == (pending.count(), here.dead_letters().count())
        assert row.own.oldest == pending.aggregate(Min("created_at"))["created_at__min"]
        assert row.own.running == here.leased().count(), pk
        below = HopperInstance.objects.under(pk).live()
        assert row.all.running == Task.objects.leased().filter(instance__in=below).count()
        assert row.effective == HopperInstance.objects.get(pk=pk).standing().effective
        assert row.children == below.filter(parent=pk).count()
    assert_true_sums(watch)


def assert_true_sums(watch: Watch) -> None:
    """Compare what waits for a person, in the sight of three callers, with the tables."""
    for place in (EVERYWHERE, "web", "ops"):
        caller = actor(place)
        total = Attention(held_tasks(caller), visible_instances(caller)).counts()["total"]
        assert watch.attention(caller) == total, place


def step(random: Random, leases: list[Any]) -> None:
    """Do one thing that may change the tree."""
    place = random.choice(PLACES)
    kind = random.randrange(10)
    lease = leases.pop(random.randrange(len(leases))) if leases and kind < 5 else None
    if lease is not None:
        token, pk = lease.token, lease.task.pk
        if kind < 3:
            complete_task(pk, token=token, actor=ALICE)
        elif kind == 3:
            fail_task(pk, token=token, retryable=random.random() < 0.5, actor=ALICE)
        else:
            ask(pk, NewQuestion("Which?"), token=token, actor=ALICE)
            if random.random() < 0.5:
                question = Question.objects.get(task=pk, state="open")
                answer_question(pk, question.pk, answer="this", actor=ALICE)
    elif kind < 7:
        TaskFactory(
            instance=HopperInstance.objects.get(pk=place), tags=random.choice([[], ["ops"]])
        )
    elif kind == 7:
        leases += claim_next(place, worker="w", limit=2, actor=ALICE).leases
    else:
        random.choice([pause_instance, resume_instance, stop_instance])(place, actor=ALICE)


@pytest.mark.parametrize("seed", range(2))
def test_after_each_step_the_picture_is_that_of_the_tables(
    tree: Tree, watch: Watch, seed: int
) -> None:
    random, leases = Random(seed), list[Any]()
    watch.look(at_once=True)
    for _ in range(15):
        try:
            step(random, leases)
        except HopperError:
            continue
        watch.look(at_once=True)
        assert_true(watch)


def test_a_tree_that_changes_its_shape(tree: Tree, watch: Watch) -> None:
    watch.look(at_once=True)
    failed = TaskFactory(instance=tree["web-run"])
    (lease,) = claim_next("web-run", worker="w", actor=ALICE).leases
    fail_task(failed.pk, token=lease.token, retryable=False, actor=ALICE)
    steps: list[Callable[[], object]] = [
        lambda: InstanceFactory(scope="ORCHESTRATION", parent=tree["web"], name="new"),
        lambda: move_instance("ops-run", parent_id="web", actor=ALICE),
        lambda: pause_instance("web", actor=ALICE),
        lambda: terminate_instance("web-run", actor=ALICE),
        lambda: terminate_instance("web", cascade=True, actor=ALICE),
    ]
    for one in steps:
        one()
        watch.look(at_once=True)
        assert_true(watch)


def test_a_webhook_that_was_switched_off_counts_within_a_minute(tree: Tree, watch: Watch) -> None:
    hook = add_webhook("web", "https://hooks.example.org/", actor=ALICE)
    watch.look(at_once=True)
    assert watch.attention(actor(EVERYWHERE)) == 0
    Webhook.objects.filter(pk=hook.pk).update(enabled=False, off_reason="failed for a day")
    assert 0 < watch._next_webhooks - time.monotonic() <= 60
    watch._next_webhooks = 0.0
    TaskFactory(instance=tree["web-run"])
    watch.look(at_once=True)
    assert_true_sums(watch)
    watch.look(at_once=True)
    assert_true(watch)
    assert watch.attention(actor("ops")) == 0


def test_a_tick_takes_two_reads_whatever_happened(
    tree: Tree, watch: Watch, django_assert_max_num_queries: Any
) -> None:
    watch.look(at_once=True)
    for place in PLACES:
        TaskFactory(instance=tree[place])
    claim_next("web-run", worker="w", actor=ALICE)
    events_have_positions(watch)
    with django_assert_max_num_queries(2):
        watch.look(at_once=True)
        for place in (EVERYWHERE, "web", "ops"):
            watch.since(watch.number - 1, actor(place))
    assert watch.rows["web-run"].own.running == 1


def events_have_positions(watch: Watch) -> None:
    """Let another reader give the events their positions, which PostgreSQL needs."""
    Watch().look(at_once=True)


def test_an_idle_tick_takes_one_read_and_now_and_then_two(
    tree: Tree, watch: Watch, django_assert_num_queries: Any
) -> None:
    for _ in range(2):
        watch.look(at_once=True)
    with django_assert_num_queries(1):
        watch.look(at_once=True)
    watch._next_turn = 0.0
    with django_assert_num_queries(2):
        watch.look(at_once=True)


def test_a_look_reads_a_bounded_number_of_tasks(
    tree: Tree, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "TASKS_AT_ONCE", 1)
    watch.look(at_once=True)
    for place in PLACES:
        TaskFactory(instance=tree[place])
    looks = 0
    while sum(row.own.backlog for row in watch.rows.values()) < len(PLACES):
        number, looks = watch.number, looks + 1
        watch.look(at_once=True)
        assert looks < 20
        assert watch.since(number, actor(EVERYWHERE)).rows, "the viewers hear of each part"
    assert looks > 1
