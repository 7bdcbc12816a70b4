"""The steps of the model taken by the real services, and the database read as a state of it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock

from django.db.models import Q
from django.utils import timezone

from delegation import placing, router
from delegation.choices import DelegationStatus as D, DelegationType, Reason
from delegation.delegator import Delegator
from delegation.instance_changes import evacuate_instance
from delegation.models import TaskDelegation
from delegation.questions import overdue_questions, time_out_question
from delegation.sweep import Round, answer_waiting_offers, sweep
from instances.lifecycle import actions as lifecycle
from instances.models import HopperInstance, Question, Task
from instances.tasks.creating import NewTask, create_task
from instances.tasks.ending import cancel_task
from instances.tasks.leases import expire_leases
from instances.tasks.questions import NewQuestion, answer_question, ask
from instances.tasks.reopening import reopen_task
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import (
    claim_task,
    complete_task,
    fail_task,
    heartbeat,
    release_task,
    start_task,
)
from instances.tree.shape import create_instance
from instances.tree.status import settle_instance
from tests.factories import ALICE
from tests.protocol.state import HAND, Offer, Question as SeenQuestion, State, Tree, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from time_machine import Coordinates

A_STEP = timedelta(seconds=90)
A_DAY = timedelta(days=1)
A_MONTH = 30 * 86_400

WANTS = {"tags": ("x", "y"), "executor_preference": "orchestration"}
"""Speaks for both projects, for the first of them more, and is to be executed."""


class Services:
    """One database that is to go the way of the model; instance ids are the model's names."""

    def __init__(self, tree: Tree, clock: Coordinates) -> None:
        self.tree, self.clock = tree, clock
        self.ids: list[str | None] = []
        self.people = Delegator(ALICE)

    def plant(self) -> None:
        """Create the tree, everything running."""
        tags = ["x", "y"]
        for name in self.tree.names:
            config: dict[str, Any] = {"retry_backoff_seconds": 0, "create_orchestrations": False}
            if self.tree.parent[name] == self.tree.names[0]:
                config |= {"capabilities": list(tags)}
                tags = tags[:-1]
            if name in self.tree.strict:
                config["manual_fallback"] = False
            if name in self.tree.manual:
                config["accept"] = "manual"
            create_instance(
                name,
                id=name,
                scope=self.tree.scope[name],
                parent_id=self.tree.parent[name],
                config=config,
                actor=ALICE,
            )
            lifecycle.start_instance(name, actor=ALICE)

    def begin(self, tasks: int) -> None:
        """Create the first task; the others are made as children."""
        self.ids = [None] * tasks
        self.ids[0] = create_task(
            NewTask(title="task 0", instance_id=self.tree.names[0], **WANTS), actor=ALICE
        ).task.pk

    # Read

    def state(self) -> State:
        """Return the database as the model sees it, without what only invariants ask."""
        statuses = dict(HopperInstance.objects.values_list("pk", "status"))
        return State(
            tuple(statuses[name] for name in self.tree.names),
            tuple(self._work(pk) for pk in self.ids),
        )

    def _work(self, pk: str | None) -> Work:
        if pk is None:
            return Work()
        task = Task.objects.get(pk=pk)
        rows = list(TaskDelegation.objects.filter(task=task).order_by("hop", "id"))
        by_hand = HAND if task.status in ("claimed", "in_progress") else None
        leased = task.attempts.filter(outcome=None).values_list("instance_id", flat=True).first()
        return Work(
            status=task.status,
            holder=task.instance_id,
            hops=tuple(TaskDelegation.objects.chain(pk).values_list(*_ENDS)),
            offers=tuple(
                Offer(
                    row.source_instance_id,
                    row.target_instance_id,
                    row.goes_up,
                    row.explicit,
                    row.question.number if row.goes_up and row.question else 0,
                )
                for row in rows
                if row.is_pending
            ),
            due=task.route_due,
            epoch=task.epoch,
            refused=_refused(task),
            lease=None if task.decomposed else leased if task.lease_token else by_hand,
            waits=_reason(task) if task.status == "blocked" else "",
            failures=task.failures,
            parent=self.ids.index(task.parent_id) if task.parent_id else None,
            decomposed=task.decomposed,
            questions=tuple(_open_questions(task)),
            asked=task.asked,
            return_to=task.return_to_id or "",
        )

    # Steps

    def take(self, name: str, arguments: tuple[Any, ...]) -> None:
        """Take a step of the table. Raises what the service raises."""
        self.clock.shift(A_STEP)
        first, *rest = arguments
        step: Callable[..., object] = getattr(self, f"_{name}")
        step(self.ids[first] if isinstance(first, int) else first, *rest)

    def _place(self, task: str) -> None:
        with mock.patch.object(placing, "MAX_HOPS", 1):
            placing.place_task(task)

    def place_interrupted(self, task: int, interrupt: Callable[[], None]) -> None:
        """Place a task one hop, and let something happen between deciding and acting."""
        decided = router.get_behavior_for_instance

        def and_then(instance: HopperInstance) -> Any:
            behavior = decided(instance)
            behaved = mock.Mock(wraps=behavior, spec=type(behavior))
            behaved.__class__ = type(behavior)

            def decide(situation: Any) -> Any:
                decision = behavior.decide(situation)
                interrupt()
                return decision

            behaved.decide = decide
            return behaved

        with mock.patch.object(router, "get_behavior_for_instance", and_then):
            self.take("place", (task,))

    def _answer(self, task: str) -> None:
        answer_waiting_offers(Round(ALICE), self._pending(task))

    def _expire(self, task: str) -> None:
        self.clock.shift(timedelta(seconds=901))
        self.people.expire_delegation(self._pending(task).get().pk)

    def _withdraw_hopeless(self, task: str) -> None:
        row = self._pending(task).get()
        self.people.cancel_delegation(row.pk, code=Reason.TARGET_STOPPED)

    def _lose_lease(self, task: str) -> None:
        self.clock.shift(timedelta(seconds=301))
        for other in Task.objects.leased().exclude(pk=task):
            heartbeat(other.pk, token=str(other.lease_token), actor=ALICE)
        expire_leases()

    def _settle(self, name: str) -> None:
        settle_instance(name, actor=ALICE)

    def _evacuate(self, name: str) -> None:
        evacuate_instance(name, actor=ALICE)

    def _delegate(self, task: str, target: str, auto: bool) -> None:
        self.people.delegate_task(task, target, accept="auto" if auto else None)

    def _accept(self, task: str) -> None:
        self.people.accept_delegation(self._pending(task).get().pk)

    def _reject(self, task: str) -> None:
        self.people.reject_delegation(self._pending(task).get().pk, reason="no")

    def _withdraw(self, task: str) -> None:
        self.people.cancel_delegation(self._pending(task).get().pk)

    def _escalate(self, task: str) -> None:
        self.people.escalate_task(task)

    def _escalate_with_words(self, task: str) -> None:
        self.people.escalate_task(task, reason="too hard")

    def _ask(self, task: str, timed: str) -> None:
        default = "no" if timed == "default" else None
        new = NewQuestion(f"question {timed}", (), default, A_MONTH if timed else None)
        ask(task, new, actor=ALICE)

    def _answer_question(self, task: str, number: int, back: bool) -> None:
        question = Question.objects.get(task=task, number=number)
        answer_question(task, question.pk, answer=f"answer {number}", back=back, actor=ALICE)

    def _time_out(self, task: str) -> None:
        over = Question.objects.filter(task=task, state="open")
        until = over.get().until
        over.update(until=timezone.now())
        for question in overdue_questions().filter(task=task):
            time_out_question(question.pk, actor=ALICE)
        over.update(until=until)

    def _reassign(self, task: str, target: str, force: bool) -> None:
        self.people.delegate_task(
            task, target, delegation_type=DelegationType.REASSIGN, force=force
        )

    def _reroute(self, task: str) -> None:
        placing.reroute_task(task, actor=ALICE)

    def _claim(self, task: str) -> None:
        claim_task(task, worker="bob", actor=ALICE)

    def _start(self, task: str) -> None:
        start_task(task, token=_token(task), actor=ALICE)

    def _complete(self, task: str) -> None:
        complete_task(task, token=_token(task), actor=ALICE)

    def _fail(self, task: str, retryable: bool) -> None:
        fail_task(task, token=_token(task), retryable=retryable, actor=ALICE)

    def _release(self, task: str) -> None:
        release_task(task, token=_token(task), actor=ALICE)

    def _take(self, task: str) -> None:
        set_status(task, status="in_progress", actor=ALICE)

    def _block(self, task: str) -> None:
        set_status(task, status="blocked", reason="which one?", actor=ALICE)

    def _unblock(self, task: str) -> None:
        set_status(task, status="pending", actor=ALICE)

    def _decompose(self, task: str, child: int) -> None:
        new = NewTask(title=f"task {child}", parent_id=task, **WANTS)
        self.ids[child] = create_task(new, actor=ALICE).task.pk

    def _cancel(self, task: str) -> None:
        cancel_task(task, actor=ALICE)

    def _reopen(self, task: str) -> None:
        reopen_task(task, actor=ALICE)

    def _start_instance(self, name: str) -> None:
        lifecycle.start_instance(name, actor=ALICE)

    def _resume_instance(self, name: str) -> None:
        lifecycle.resume_instance(name, actor=ALICE)

    def _recover_instance(self, name: str) -> None:
        lifecycle.recover_instance(name, actor=ALICE)

    def _pause_instance(self, name: str) -> None:
        lifecycle.pause_instance(name, actor=ALICE)

    def _fail_instance(self, name: str) -> None:
        lifecycle.fail_instance(name, actor=ALICE)

    def _stop_instance(self, name: str, how: str) -> None:
        lifecycle.stop_instance(name, force=how == "force", evacuate=how == "evacuate", actor=ALICE)

    def _terminate_instance(self, name: str) -> None:
        lifecycle.terminate_instance(name, cascade=True, actor=ALICE)

    def come_to_rest(self) -> None:
        """Let days go by, and the sweep do all that it finds, until it finds nothing."""
        for _ in range(20):
            self.clock.shift(A_DAY * 30)
            if not sweep().total():
                return
        raise AssertionError("the sweep still finds something to do")

    def _pending(self, task: str) -> Any:
        return TaskDelegation.objects.filter(task_id=task, status=D.PENDING)


def _reason(task: Task) -> str:
    return "Question" if task.waiting.get("question") else task.waiting_code


def _open_questions(task: Task) -> Iterator[SeenQuestion]:
    for row in task.questions.filter(state="open"):
        timed = "" if row.until is None else "raise" if row.default is None else "default"
        raised = row.raised_at is not None
        yield SeenQuestion(row.number, row.instance_id, row.epoch, timed, row.rests, raised)


_ENDS = ("source_instance_id", "target_instance_id")


def _token(task: str) -> str | None:
    return Task.objects.get(pk=task).lease_token


def _refused(task: Task) -> frozenset[str]:
    """Return who rejected the task, let its offer expire, or handed it up, in this epoch."""
    rows = TaskDelegation.objects.filter(task=task, epoch=task.epoch)
    up = Q(delegation_type=DelegationType.ESCALATE)
    refusers = rows.filter(status__in=(D.REJECTED, D.EXPIRED)).exclude(up)
    return frozenset(refusers.values_list("target_instance_id", flat=True)) | frozenset(
        rows.filter(up).values_list("source_instance_id", flat=True)
    )
