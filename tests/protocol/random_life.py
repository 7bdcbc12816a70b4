"""A random life: any service call on any row, refusals included, as a stream of steps."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.utils import timezone

from delegation.choices import DelegationStatus
from delegation.delegator import Delegator
from delegation.models import TaskDelegation
from delegation.placing import reroute_task
from delegation.sweep import sweep
from hopper.errors import HopperError
from instances.lifecycle import actions as lifecycle
from instances.lifecycle.actions import update_instance
from instances.lifecycle.closing import close_instance
from instances.models import HopperInstance, Task
from instances.tasks.creating import NewTask, create_task
from instances.tasks.editing import update_task
from instances.tasks.ending import cancel_task
from instances.tasks.reopening import reopen_task
from instances.tasks.status_by_hand import SETTABLE, set_status
from instances.tasks.worker import (
    claim_next,
    claim_task,
    complete_task,
    fail_task,
    heartbeat,
    release_task,
    start_task,
)
from instances.tree.shape import create_instance, move_instance
from tests.factories import ALICE

AUTO = {"capabilities": ["web"]}
MANUAL = {"capabilities": ["ops"], "accept": "manual", "max_queued_tasks": 5}
MOST_OPEN = 9
"""The number of open tasks above which no task is created."""

STEPS = {
    "create": 6,
    "claim": 3,
    "report": 3,
    "set_by_hand": 1,
    "delegate": 3,
    "answer": 3,
    "claim_given": 1,
    "reassign": 1,
    "escalate": 2,
    "cancel": 1,
    "reopen": 1,
    "edit": 1,
    "reroute": 1,
    "change_instance": 4,
    "configure": 1,
    "grow": 1,
    "move": 1,
    "terminate": 1,
    "close": 1,
    "let_time_pass": 1,
    "sweep": 1,
}
"""The possible steps and their weights."""


class RandomLife:
    """A small forest, and a die that says of each step what exactly happens."""

    def __init__(self) -> None:
        self.die = random.Random()
        self.count = 0

    def step(self, name: str, luck: str) -> str:
        """Do one thing of that name; return what, and how it was refused if it was."""
        self.die.seed(luck)
        try:
            told = getattr(self, name)()
        except HopperError as refusal:
            return f"{name}: refused, {type(refusal).__name__}"
        return f"{name}: {told}"

    def plant(self) -> None:
        """Make the instances; one is never started, of one nothing but the name is left."""
        self._instance("top", "GLOBAL", None, {"max_offers": 2})
        self._instance("web", "PROJECT", "top", AUTO)
        self._instance("ops", "PROJECT", "top", MANUAL)
        self._instance("home", "PERSONAL", "top", {"max_concurrent_tasks": 2})
        self._instance("run1", "ORCHESTRATION", "web", {"max_concurrent_tasks": 2}, "ephemeral")
        self._instance("run2", "ORCHESTRATION", "web", {"max_concurrent_tasks": 1}, "ephemeral")
        self._instance("phase", "ORCHESTRATION", "run1", {"max_attempts": 2})
        self._instance("deep", "PROJECT", "home", AUTO)
        create_instance("idle", id="idle", scope="PROJECT", parent_id="top", actor=ALICE)
        lifecycle.terminate_instance(self._instance("gone", "PROJECT", "top"), actor=ALICE)

    def _instance(
        self, name: str, scope: str, parent: str | None = None, config: Any = None, type_: str = ""
    ) -> str:
        made = create_instance(
            name,
            id=name,
            scope=scope,
            parent_id=parent,
            config=config,
            instance_type=type_ or "persistent",
            actor=ALICE,
        )
        lifecycle.start_instance(made.pk, actor=ALICE)
        return name

    def _any_instance(self) -> str:
        live = HopperInstance.objects.live().order_by("pk").values_list("pk", flat=True)
        return self.die.choice(list(live) or ["top"])

    def _any_task(self, **where: Any) -> str:
        known = list(Task.objects.filter(**where).order_by("pk").values_list("pk", flat=True))
        return self.die.choice(known) if known else "task-0"

    def _task_in(self, *statuses: str) -> str:
        return self._any_task(status__in=statuses) if self.die.random() < 0.8 else self._any_task()

    def create(self) -> str:
        """Create a task, with or without place, parent, predecessors."""
        if Task.objects.open().count() >= MOST_OPEN:
            return self.cancel()
        self.count += 1
        chance = self.die.random
        parent = self._task_in("pending", "in_progress", "claimed") if chance() < 0.3 else None
        new = NewTask(
            title=f"task {self.count}",
            instance_id=self._any_instance() if chance() < 0.8 and not parent else None,
            parent_id=parent,
            project=self.die.choice(["", "", "", "web", "ops", "opps", "gone", "new"]),
            tags=self.die.choice([(), ("web",), ("ops",)]),
            required_capabilities=self.die.choice([(), (), (), ("web",), ("gpu",)]),
            complexity=self.die.choice([None, 1, 4]),
            executor_preference=self.die.choice(["any", "any", "human"]),
            priority=self.die.choice(["low", "medium", "urgent"]),
            depends_on=(self._any_task(),) if chance() < 0.15 and Task.objects.exists() else (),
            not_before=timezone.now() + timedelta(hours=5) if chance() < 0.1 else None,
            unique_key=f"key-{self.die.randrange(5)}" if chance() < 0.1 else None,
            failure_policy=self.die.choice(["wait_all", "fail_fast", "best_effort", "resume"]),
            completion=self.die.choice(["auto", "auto", "resume"]),
        )
        return create_task(new, actor=ALICE).task.pk

    def claim(self) -> str:
        """Claim the next tasks somewhere."""
        limit = self.die.choice([1, 1, 3])
        claim = claim_next(self._any_instance(), worker="w", limit=limit, actor=ALICE)
        return ", ".join(lease.task.pk for lease in claim.leases)

    def claim_given(self) -> str:
        """Claim one given task."""
        return claim_task(self._task_in("pending"), worker="v", actor=ALICE).task.pk

    def report(self) -> str:
        """Start, beat, complete, fail or release as the lease's worker, or as nobody."""
        task = Task.objects.filter(pk=self._task_in("claimed", "in_progress")).first()
        if task is None:
            return "nothing"
        token = task.lease_token if self.die.random() < 0.9 else "1.stale"
        kind = self.die.randrange(6)
        if kind == 0:
            return start_task(task.pk, token=token, actor=ALICE).status
        if kind == 1:
            return heartbeat(task.pk, token=str(token), progress=0.5, actor=ALICE).status
        if kind in (2, 3):
            return complete_task(task.pk, token=token, result={"n": 1}, actor=ALICE).status
        if kind == 4:
            retryable = self.die.random() < 0.6
            return fail_task(
                task.pk, token=token, error="x", retryable=retryable, actor=ALICE
            ).status
        return release_task(task.pk, token=token, actor=ALICE).status

    def set_by_hand(self) -> str:
        """Set any status on any task."""
        status, force = self.die.choice(SETTABLE), self.die.random() < 0.5
        return set_status(self._any_task(), status=status, force=force, actor=ALICE).status

    def delegate(self) -> str:
        """Offer a task to a child of its holder, mostly."""
        task = Task.objects.filter(pk=self._task_in("pending", "blocked")).first()
        children = HopperInstance.objects.live().filter(parent=task.instance_id if task else None)
        ids = [*children.order_by("pk").values_list("pk", flat=True), self._any_instance()]
        accept, force = self.die.choice([None, None, "auto"]), self.die.random() < 0.3
        handed = Delegator(ALICE).delegate_task(
            task.pk if task else "task-0",
            self.die.choice(ids),
            accept=accept,
            force=force,
            reason="because" if force else "",
        )
        return handed.delegation.status

    def reassign(self) -> str:
        """Move a task sideways."""
        return (
            Delegator(ALICE)
            .delegate_task(
                self._any_task(),
                self._any_instance(),
                delegation_type="reassign",
                force=self.die.random() < 0.5,
                reason="sideways",
            )
            .delegation.status
        )

    def answer(self) -> str:
        """Answer a delegation, mostly a pending one."""
        rows = TaskDelegation.objects.order_by("pk")
        if self.die.random() < 0.9:
            rows = rows.filter(status=DelegationStatus.PENDING)
        ids = list(rows.values_list("pk", flat=True)) or ["del-0"]
        pk, delegator = self.die.choice(ids), Delegator(ALICE)
        kind = self.die.randrange(5)
        if kind < 2:
            return delegator.accept_delegation(pk).status
        if kind == 2:
            return delegator.reject_delegation(pk, reason="no").status
        if kind == 3:
            return delegator.cancel_delegation(pk).status
        return delegator.complete_delegation(pk, result=1).status

    def escalate(self) -> str:
        """Hand a task up."""
        row = Delegator(ALICE).escalate_task(self._any_task(), reason="too hard")
        return row.status if row else "blocked"

    def cancel(self) -> str:
        """Cancel a task."""
        return cancel_task(self._any_task(), actor=ALICE).status

    def reopen(self) -> str:
        """Open a task again."""
        return reopen_task(self._task_in("done", "failed", "cancelled"), actor=ALICE).status

    def edit(self) -> str:
        """Change what routing reads, or what a task waits for."""
        changes: dict[str, Any] = {"tags": self.die.choice([["web"], ["ops"], []])}
        if self.die.random() < 0.3:
            changes = {"depends_on": [self._any_task()]}
        return update_task(self._any_task(), changes=changes, actor=ALICE).status

    def reroute(self) -> str:
        """Place a task anew."""
        return reroute_task(self._any_task(), actor=ALICE).status

    def change_instance(self) -> str:
        """Take an edge of an instance's life, mostly one that leads back to running."""
        pk = self._any_instance()
        options = {"force": self.die.random() < 0.3, "evacuate": self.die.random() < 0.3}
        change: Callable[[], HopperInstance] = self.die.choice(
            [
                lambda: lifecycle.start_instance(pk, actor=ALICE),
                lambda: lifecycle.start_instance(pk, actor=ALICE),
                lambda: lifecycle.resume_instance(pk, actor=ALICE),
                lambda: lifecycle.recover_instance(pk, actor=ALICE),
                lambda: lifecycle.pause_instance(pk, actor=ALICE),
                lambda: lifecycle.fail_instance(pk, reason="x", actor=ALICE),
                lambda: lifecycle.stop_instance(pk, actor=ALICE, **options),
                lambda: lifecycle.restart_instance(pk, force=options["force"], actor=ALICE),
            ]
        )
        return f"{pk} {change().status}"

    def configure(self) -> str:
        """Lower or raise a limit."""
        pk = self._any_instance()
        known = HopperInstance.objects.get(pk=pk).config
        limit = {"max_concurrent_tasks": self.die.choice([1, 3, 10])}
        return update_instance(pk, changes={"config": known | limit}, actor=ALICE).pk

    def grow(self) -> str:
        """Make a new instance somewhere."""
        self.count += 1
        scope = self.die.choice(["PROJECT", "ORCHESTRATION", "ORCHESTRATION"])
        type_ = self.die.choice(["persistent", "ephemeral"])
        return self._instance(f"i{self.count}", scope, self._any_instance(), AUTO, type_)

    def move(self) -> str:
        """Hang an instance elsewhere."""
        return move_instance(self._any_instance(), parent_id=self._any_instance(), actor=ALICE).pk

    def terminate(self) -> str:
        """End an instance, never the top one."""
        pk = self._any_instance()
        if pk in ("top", "web"):
            return "spared"
        cascade = self.die.random() < 0.5
        return lifecycle.terminate_instance(pk, cascade=cascade, actor=ALICE).status

    def close(self) -> str:
        """Close a run."""
        return str(close_instance(self._any_instance(), force=self.die.random() < 0.5, actor=ALICE))

    def let_time_pass(self) -> str:
        """Let leases, offers and back-offs run out."""
        past = timezone.now() - timedelta(seconds=1)
        leased = Task.objects.leased().filter(pk=self._any_task())
        leased.update(lease_expires_at=past)
        Task.objects.filter(retry_at__isnull=False).update(retry_at=past)
        TaskDelegation.objects.filter(status="pending", expires_at__isnull=False).filter(
            task=self._any_task()
        ).update(expires_at=past)
        return self.sweep()

    def sweep(self) -> str:
        """Do what is due."""
        return str(sweep().total())
