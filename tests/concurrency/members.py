"""What the members of a crowd do; each returns plain values."""

from __future__ import annotations

import random
import time
from functools import partial
from typing import TYPE_CHECKING

from delegation.services.delegator import Delegator
from hopper.actors import Actor
from hopper.errors import HopperError
from instances.models import HopperInstance, Task
from instances.services.lifecycle import start_instance, terminate_instance
from instances.services.queue import claim_next, complete_task
from instances.services.tasks import NewTask, create_task
from instances.services.tree import create_instance, move_instance
from tests.concurrency.crowd import together

if TYPE_CHECKING:
    from collections.abc import Callable

BOB = Actor("bob", {"*": "admin"})


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
        report = partial(complete_task, task_id, token=token, result={"by": mark}, actor=BOB)
        outcomes.append(_tried(report))
    return outcomes


def work_off(instance_id: str, worker: str) -> list[str]:
    """Claim and complete until the queue has been empty for a while; return what was claimed."""
    claimed: list[str] = []
    idle_since = time.monotonic()
    while time.monotonic() - idle_since < 3:
        leases = claim_next(instance_id, worker=worker, actor=BOB).leases
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


def claim_and_hang(instance_id: str, seconds: float) -> str:
    """Claim one task and sit on it."""
    (lease,) = claim_next(instance_id, worker="zombie", lease_seconds=30, actor=BOB).leases
    time.sleep(seconds)
    return str(Task.objects.get(pk=lease.task.pk).status)


def shake_or_route(role: str, seed: int, seconds: float) -> list[str] | int:
    """Be one of those who shake the tree, or of those who route through it."""
    return grow_and_shake(seed, seconds) if role == "shake" else route_many(seed, seconds)
