"""The acts of a crowd's members; each returns plain values."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from django.test import Client
from django.utils import timezone

from delegation import completion
from delegation.delegator import Delegator, decompose_task
from hopper.actors import Actor
from hopper.errors import HopperError
from instances.lifecycle.actions import start_instance, terminate_instance
from instances.models import HopperInstance, Task
from instances.tasks import changes
from instances.tasks.creating import NewTask, create_task
from instances.tasks.ending import cancel_task
from instances.tasks.leases import expire_leases
from instances.tasks.worker import claim_next, complete_task, fail_task, heartbeat, release_task
from instances.tree.shape import create_instance, move_instance
from tests.concurrency.crowd import together

if TYPE_CHECKING:
    from instances.tasks.worker import Lease

BOB = Actor("bob", {"*": "admin"})

JITTER = 0.006
"""Seconds by which those who race come early or late, so that each of them wins at times."""


def _tried(action: Callable[[], object]) -> str:
    """Return "ok", or the code of the refusal; anything else that is raised fails the test."""
    try:
        action()
    except HopperError as refusal:
        return refusal.code
    return "ok"


def delegate_each(task_ids: list[str], target_id: str) -> list[str]:
    """Offer every task to the target, all members at once, task by task."""
    outcomes = []
    for task_id in task_ids:
        together()
        outcomes.append(_tried(partial(Delegator(BOB).delegate_task, task_id, target_id)))
    return outcomes


def answer_each(delegation_ids: list[str], answer: str) -> list[str]:
    """Accept or reject every delegation, all members at once."""
    outcomes = []
    for pk in delegation_ids:
        together()
        if answer == "accept":
            outcomes.append(_tried(partial(Delegator(BOB).accept_delegation, pk)))
        else:
            outcomes.append(_tried(partial(Delegator(BOB).reject_delegation, pk, reason="no")))
    return outcomes


def complete_each(tokens: list[tuple[str, str]], mark: int) -> list[str]:
    """Complete every task with its token, all members at once."""
    outcomes = []
    for task_id, token in tokens:
        together()
        report = partial(complete_task, task_id, token=token, result={"done": True}, actor=BOB)
        outcomes.append(_tried(report))
    return outcomes


def _is_work_left(idle_since: float) -> bool:
    """Return whether a task is open; False for a member that got none for a minute."""
    return time.monotonic() - idle_since < 60 and Task.objects.open().exists()


def work_off(instance_id: str, worker: str, tags: list[str] | None = None) -> list[str]:
    """Claim tasks with these tags and complete them until none is open; return their ids."""
    claimed: list[str] = []
    idle_since = time.monotonic()
    while _is_work_left(idle_since):
        leases = claim_next(instance_id, worker=worker, tags=tags, actor=BOB).leases
        for lease in leases:
            claimed.append(lease.task.pk)
            complete_task(lease.task.pk, token=lease.token, result=worker, actor=BOB)
        if leases:
            idle_since = time.monotonic()
        else:
            time.sleep(0.02)
    return claimed


def grow_and_shake(seed: int, seconds: float) -> list[str]:
    """Create, move and terminate instances at random; return the codes of what was refused."""
    dice = random.Random(seed)
    refusals = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        outcome = _tried(lambda: _shake(dice))
        if outcome != "ok":
            refusals.append(outcome)
    return refusals


def _shake(dice: random.Random) -> None:
    projects = list(
        HopperInstance.objects.live().filter(scope="PROJECT").values_list("pk", flat=True)
    )
    runs = list(
        HopperInstance.objects.live().filter(scope="ORCHESTRATION").values_list("pk", flat=True)
    )
    choice = dice.random()
    name = f"n{dice.randrange(10**9)}"
    if choice < 0.45 or not runs:
        made = create_instance(
            name, scope="ORCHESTRATION", parent_id=dice.choice(projects), actor=BOB
        )
        start_instance(made.pk, actor=BOB)
    elif choice < 0.55:
        made = create_instance(
            name, scope="PROJECT", parent_id="top", config={"capabilities": ["x"]}, actor=BOB
        )
        start_instance(made.pk, actor=BOB)
    elif choice < 0.8:
        move_instance(dice.choice(runs), parent_id=dice.choice(projects), actor=BOB)
    else:
        victim = dice.choice(runs if dice.random() < 0.9 or len(projects) < 4 else projects[2:])
        terminate_instance(victim, cascade=True, actor=BOB)


def route_many(seed: int, seconds: float) -> int:
    """Send tasks in at the top until time is up; return how many."""
    dice = random.Random(seed)
    until = time.monotonic() + seconds
    made = 0
    while time.monotonic() < until:
        complexity = dice.randint(1, 5)
        new = NewTask(f"t{made}", instance_id="top", tags=["x"], complexity=complexity)
        create_task(new, actor=BOB)
        made += 1
    return made


def create_many(number: int, tags: list[str]) -> None:
    """Send equal tasks in at the top, one after another."""
    for n in range(number):
        create_task(NewTask(f"t{n}", instance_id="top", tags=tags), actor=BOB)


def claim_and_hang(secret: str, instance_id: str, checkpoint: Any) -> None:
    """Be a worker that speaks REST: claim a task, keep a checkpoint, and sit on it for ever."""
    client = Client(HTTP_AUTHORIZATION=f"Bearer {secret}", HTTP_HOST="localhost")

    def tell(path: str, body: Any) -> Any:
        return client.post(f"/api/v1{path}", body, content_type="application/json").json()

    wish = {"worker": "zombie", "lease_seconds": 30}
    (task,) = tell(f"/instances/{instance_id}/claim", wish)["tasks"]
    news = {"token": task["lease"]["token"], "checkpoint": checkpoint, "progress": 0.5}
    tell(f"/tasks/{task['id']}/heartbeat", news)
    time.sleep(600)


def shake_or_route(role: str, seed: int, seconds: float) -> list[str] | int:
    """Be one of those who shake the tree, or of those who route through it."""
    return grow_and_shake(seed, seconds) if role == "shake" else route_many(seed, seconds)


def finish_siblings(leases: list[tuple[str, str]], naive: bool) -> list[str]:
    """Complete one child of every family, all members at once, family by family."""
    if naive:
        aggregate_naively()
    return complete_each(leases, 0)


def aggregate_naively() -> None:
    """Make this process aggregate as one would at first: each locks its own task, and counts.

    Nobody meets anybody: two last children each see the other one still at work.
    """

    def own_rows(task_ids: Iterable[str]) -> list[Task]:
        rows = Task.objects.select_for_update(no_key=True).filter(pk__in=set(task_ids))
        return list(rows.order_by("pk"))

    changes.lock_tasks = own_rows
    completion.lock_task = changes.present_task


def beat_each(leases: list[tuple[str, str]], seed: int) -> list[str]:
    """Send the heartbeat of each lease while others sweep it, lease by lease."""
    dice = random.Random(seed)
    outcomes = []
    for step, (task_id, token) in enumerate(leases):
        past = timezone.now() - timedelta(seconds=1)
        Task.objects.filter(pk=task_id).update(lease_expires_at=past)
        together()
        time.sleep(dice.random() * JITTER)
        beat = partial(heartbeat, task_id, token=token, checkpoint={"step": step}, actor=BOB)
        outcomes.append(_tried(beat))
        together()
    return outcomes


def sweep_each(rounds: int, seed: int) -> list[int]:
    """Take back what is overdue, once a round; return how many leases each time."""
    dice = random.Random(seed)
    swept = []
    for _ in range(rounds):
        together()
        time.sleep(dice.random() * JITTER)
        swept.append(expire_leases())
        together()
    return swept


def beat_or_sweep(role: str, what: Any, seed: int) -> list[Any]:
    """Be the one whose heartbeats race, or one of those who sweep."""
    return beat_each(what, seed) if role == "beat" else sweep_each(what, seed)


def crowd_in(instance_id: str, worker: str, seed: int) -> tuple[int, int]:
    """Claim in batches and end what was claimed in every way until no task is open.

    Returns the most live leases seen right after a claim of one's own, and how many one got.
    """
    dice = random.Random(seed)
    peak, got, idle_since = 0, 0, time.monotonic()
    while _is_work_left(idle_since):
        claim = claim_next(instance_id, worker=worker, limit=dice.randint(1, 4), actor=BOB)
        if not claim.leases:
            time.sleep(dice.random() * 0.02)
            continue
        idle_since = time.monotonic()
        peak = max(peak, Task.objects.leased().filter(instance_id=instance_id).count())
        got += len(claim.leases)
        for lease in claim.leases:
            _end(lease, dice.random())
    return peak, got


def _end(lease: Lease, chance: float) -> None:
    if chance < 0.7:
        complete_task(lease.task.pk, token=lease.token, actor=BOB)
    elif chance < 0.85:
        release_task(lease.task.pk, token=lease.token, actor=BOB)
    else:
        fail_task(lease.task.pk, token=lease.token, retryable=False, actor=BOB)


def post_each(secret: str, calls: list[tuple[str, Any, str]]) -> list[tuple[int, Any]]:
    """POST every (path, body, key) through the whole REST stack, all members at once."""
    client = Client(HTTP_AUTHORIZATION=f"Bearer {secret}", HTTP_HOST="localhost")
    answers = []
    for path, body, key in calls:
        together()
        answer = client.post(
            f"/api/v1{path}",
            body,
            content_type="application/json",
            headers={"idempotency-key": key} if key else {},
        )
        answers.append((answer.status_code, answer.json()))
    return answers


def complete_and_move(lots: list[tuple[str, str]]) -> list[str]:
    """Complete each (task, token), or move each (instance, parent); all members nearly at once."""
    outcomes, dice = [], random.Random(str(lots))
    for pk, word in lots:
        together()
        time.sleep(dice.random() * JITTER)
        if word.startswith("to-"):
            outcomes.append(_tried(partial(move_instance, pk, parent_id=word, actor=BOB)))
        else:
            outcomes.append(_tried(partial(complete_task, pk, token=word, actor=BOB)))
    return outcomes


def meet_each(role: str, families: list[dict[str, str]]) -> list[str]:
    """Do this role's part in every family of tasks, all members nearly at once."""
    outcomes, dice = [], random.Random(role)
    for one in families:
        together()
        time.sleep(dice.random() * 0.03)
        outcomes.append(_tried(partial(_PARTS[role], one)))
    return outcomes


_PARTS: dict[str, Callable[[dict[str, str]], object]] = {
    "cancel": lambda one: cancel_task(one["parent"], actor=BOB),
    "add": lambda one: decompose_task(
        one["middle"], [NewTask("late", key="late"), NewTask("later", key="later")], actor=BOB
    ),
    "add below": lambda one: create_task(NewTask("below", parent_id=one["abandoned"]), actor=BOB),
    "complete": lambda one: complete_task(one["grandchild"], token=one["token"], actor=BOB),
    "accept": lambda one: Delegator(BOB).accept_delegation(one["offer"]),
}
