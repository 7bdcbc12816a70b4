"""A tree of instances, as random as the die, with tasks in every state, made by the services."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from delegation.delegator import Delegator
from instances.lifecycle import actions as lifecycle
from instances.models import HopperInstance, Task
from instances.tasks.creating import NewTask, create_task
from instances.tasks.ending import cancel_task
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_task, fail_task, start_task
from instances.tree.shape import create_instance
from tests.factories import ALICE
from tests.flows.rows import held_off

ROOM = {
    "max_queued_tasks": 100_000,
    "max_concurrent_tasks": 10_000,
    "retry_backoff_seconds": 3600,
}
POLICIES = ("wait_all", "fail_fast", "best_effort", "resume")


class Forest:
    """A GLOBAL `top` over projects over runs, some runs with a phase; all running at first."""

    def __init__(self, die: random.Random, *, projects: int, runs: int) -> None:
        self.die = die
        self.count = 0
        self.projects: list[str] = []
        self.runs: list[str] = []
        self._instance("top", "GLOBAL", None)
        for number in range(projects):
            project = self._instance(f"p{number}", "PROJECT", "top")
            self.projects.append(project)
            for other in range(runs):
                kind = die.choice(["ephemeral", "persistent"])
                run = self._instance(f"{project}-r{other}", "ORCHESTRATION", project, kind)
                self.runs.append(run)
                if other == 0:
                    self.runs.append(self._instance(f"{run}-phase", "ORCHESTRATION", run))
        self.kinds: list[Callable[[], str]] = [
            self.routed, self.local, self.manual, self.resting_at_the_top, self.due,
            self.due_and_taken_by_hand, self.offered, self.offered_from_the_top, self.escalating,
            self.claimed, self.in_progress, self.by_hand, self.blocked_by_a_person,
            self.blocked_by_placing, self.blocked_by_a_dependency, self.not_ready,
            self.backing_off, self.decomposed, self.done, self.failed, self.cancelled,
            self.unassigned, self.offered_unassigned, self.handed_out,
        ]  # fmt: skip

    def _instance(self, id: str, scope: str, parent: str | None, type_: str = "persistent") -> str:
        create_instance(
            id,
            id=id,
            scope=scope,
            parent_id=parent,
            instance_type=type_,
            config={**ROOM, "capabilities": [id]},
            actor=ALICE,
        )
        lifecycle.start_instance(id, actor=ALICE)
        return id

    def grow(self, tasks: int) -> None:
        """Make tasks until there are that many, each kind as often as any other."""
        kinds: list[Callable[[], str]] = []
        while Task.objects.count() < tasks:
            kinds = kinds or self.die.sample(self.kinds, len(self.kinds))
            kinds.pop()()

    def unsettle(self) -> None:
        """Pause, stop, fail or end an instance here and there."""
        for pk in self.die.sample([*self.projects, *self.runs], self.die.randrange(3)):
            change = self.die.choice(
                [lifecycle.pause_instance, lifecycle.stop_instance, lifecycle.fail_instance]
            )
            with held_off():
                change(pk, actor=ALICE)

    def instances(self) -> list[str]:
        """Return the instances, ended ones too, the top first."""
        return list(HopperInstance.objects.order_by("lft").values_list("pk", flat=True))

    def _create(self, instance_id: str | None = None, **fields: Any) -> str:
        self.count += 1
        new = NewTask(title=f"task {self.count}", instance_id=instance_id, **fields)
        return create_task(new, actor=ALICE).task.pk

    # Pending

    def routed(self) -> str:
        """Come from the top by two hops, to a run."""
        tags = (self.die.choice(self.projects),)
        return self._create("top", tags=tags, executor_preference="orchestration")

    def local(self) -> str:
        """Ready where it was created."""
        return self._create(self.die.choice(self.runs))

    def manual(self) -> str:
        """Come from the top to a project, for people."""
        return self._create("top", tags=(self.die.choice(self.projects),))

    def resting_at_the_top(self) -> str:
        """Awaiting triage."""
        return self._create("top")

    def due(self) -> str:
        """Not yet placed."""
        with held_off():
            return self._create(self.die.choice(["top", *self.projects]), tags=("p0",))

    def offered(self) -> str:
        """Under an offer from a project to one of its runs."""
        task = self.manual()
        holder = str(Task.objects.values_list("instance_id", flat=True).get(pk=task))
        Delegator(ALICE).delegate_task(task, f"{holder}-r0")
        return task

    def offered_from_the_top(self) -> str:
        """Under an offer from the top to a project."""
        task = self.resting_at_the_top()
        Delegator(ALICE).delegate_task(task, self.die.choice(self.projects))
        return task

    def escalating(self) -> str:
        """Handed up by a run whose project has not answered."""
        task = self.die.choice([self.routed, self.local])()
        holder = HopperInstance.objects.get(tasks=task)
        with held_off():
            lifecycle.pause_instance(str(holder.parent_id), actor=ALICE)
            Delegator(ALICE).escalate_task(task, reason="too hard")
            lifecycle.resume_instance(str(holder.parent_id), actor=ALICE)
        return task

    def not_ready(self) -> str:
        """After another."""
        before = self.die.choice([self.local, self.manual])()
        return self._create(self.die.choice(self.runs), depends_on=(before,))

    def backing_off(self) -> str:
        """Failed once, and to be tried again later."""
        task = self.claimed()
        token = Task.objects.get(pk=task).lease_token
        fail_task(task, token=token, error="x", retryable=True, actor=ALICE)
        return task

    def unassigned(self) -> str:
        """Nowhere."""
        return self._create()

    def offered_unassigned(self) -> str:
        """Offered by nobody."""
        task = self.unassigned()
        Delegator(ALICE).delegate_task(task, self.die.choice(self.projects))
        return task

    def handed_out(self) -> str:
        """Accepted from nobody."""
        task = self.unassigned()
        target = self.die.choice([*self.projects, *self.runs])
        Delegator(ALICE).delegate_task(task, target, accept="auto")
        return task

    # In somebody's hands

    def claimed(self) -> str:
        """Leased."""
        task = self.die.choice([self.routed, self.local])()
        claim_task(task, worker="w", actor=ALICE)
        return task

    def in_progress(self) -> str:
        """Leased and begun."""
        task = self.claimed()
        start_task(task, token=Task.objects.get(pk=task).lease_token, actor=ALICE)
        return task

    def by_hand(self) -> str:
        """Begun without a lease."""
        return self._set(self.manual(), "in_progress")

    def due_and_taken_by_hand(self) -> str:
        """Begun before it was placed."""
        return self._set(self.due(), "in_progress")

    def decomposed(self) -> str:
        """With children here and there, in several states, some with children themselves."""
        parent = self.die.choice([self.manual, self.local, self.routed])()
        Task.objects.filter(pk=parent).update(failure_policy=self.die.choice(POLICIES))
        runs = [self.die.choice(self.runs) for _ in range(self.die.randint(1, 4))]
        children = [self._create(run, parent_id=parent) for run in runs]
        # The first stays open, so that its parent does.
        for child in children[1:]:
            self._send_on(child)
        return parent

    def _send_on(self, child: str) -> None:
        fate = self.die.randrange(4)
        if fate == 0:
            self._create(self.die.choice(self.runs), parent_id=child)
        elif fate == 1:
            claim_task(child, worker="w", actor=ALICE)
        elif fate == 2:
            Task.objects.filter(pk=child).update(on_parent_close="abandon")
            self._create(self.die.choice(self.runs), parent_id=child)
        else:
            self._set(child, self.die.choice(["done", "blocked", "cancelled"]))

    # Blocked

    def blocked_by_a_person(self) -> str:
        """Put aside by hand."""
        return self._set(self.die.choice([self.manual, self.local])(), "blocked")

    def blocked_by_placing(self) -> str:
        """Wanting what nobody can."""
        place = self.die.choice(["top", *self.projects])
        return self._create(place, required_capabilities=("teleport",))

    def blocked_by_a_dependency(self) -> str:
        """After one that was cancelled."""
        return self._create(self.die.choice(self.runs), depends_on=(self.cancelled(),))

    # Ended

    def done(self) -> str:
        """Done."""
        return self._set(self.die.choice([self.routed, self.local])(), "done")

    def failed(self) -> str:
        """Failed for good."""
        task = self.claimed()
        token = Task.objects.get(pk=task).lease_token
        fail_task(task, token=token, error="x", retryable=False, actor=ALICE)
        return task

    def cancelled(self) -> str:
        """Cancelled."""
        return cancel_task(self.die.choice([self.routed, self.local])(), actor=ALICE).pk

    def _set(self, task: str, status: str) -> str:
        set_status(task, status=status, owner="w", actor=ALICE)
        return task
