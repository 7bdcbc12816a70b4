"""A random walk after each step of which every reason is asked, and what it names is done."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.test import TestCase
from hypothesis import note, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from delegation.api.views import offers_waiting_on
from delegation.models import TaskDelegation
from delegation.sweep import sweep
from hopper.errors import HopperError
from instances.choices import WaitingCode
from instances.dashboard import dashboard
from instances.models import HopperInstance, Task
from instances.waiting import Places, waiting_condition, waiting_on
from tests.protocol.aims import AIMS
from tests.protocol.moves import MOVES, Wait
from tests.protocol.random_life import MOST_OPEN, STEPS, RandomLife
from tests.soundness import unsound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from time_machine import Coordinates

A_STEP = timedelta(seconds=90)
NAMES = [name for name, often in STEPS.items() for _ in range(often)]


class Walk(RuleBasedStateMachine):
    """Any service call on any row of a small forest; some die at their commit."""

    life: RandomLife
    clock: Coordinates
    seen: Counter[str]
    first: WaitingCode | None = None
    states = 0
    moved = 0

    def __init__(self) -> None:
        super().__init__()
        self.around = transaction.atomic()
        self.around.__enter__()
        self.taken = 0

    @initialize(seeds=st.lists(st.integers(0, 2**32), min_size=6, max_size=6))
    def begin(self, seeds: list[int]) -> None:
        """Have some tasks to begin with, one of them waiting for the `first` reason."""
        if self.first is not None:
            self.take(AIMS[self.first], whole=False)
            self.look()
        for seed in seeds:
            self.live("create", seed, whole=True)

    @rule(
        name=st.sampled_from(NAMES),
        seed=st.integers(0, 2**32),
        whole=st.sampled_from([True, True, True, False]),
    )
    def live(self, name: str, seed: int, whole: bool) -> None:
        """Do one thing; unless `whole`, what should follow its commit is lost."""
        # Small numbers come often: the same one means something else with every step.
        luck = f"{seed} {self.taken}"
        self.take(lambda: note(self.life.step(name, luck)), whole)

    @rule(code=st.sampled_from(sorted(AIMS)), whole=st.booleans())
    def aim(self, code: WaitingCode, whole: bool) -> None:
        """Go straight for a reason that is rare; it may be refused on the way."""
        if Task.objects.open().count() >= MOST_OPEN:
            return
        with suppress(HopperError):
            self.take(AIMS[code], whole)

    def take(self, step: Callable[[], object], whole: bool) -> None:
        """Take a step with what follows its commit, or without."""
        self.clock.shift(A_STEP)
        self.taken += 1
        if whole:
            with TestCase.captureOnCommitCallbacks(execute=True):
                step()
        else:
            step()

    @invariant()
    def look(self) -> None:
        """Each unfinished task has one reason, which lists and counts know, and which leads on."""
        type(self).states += 1
        tasks = list(Task.objects.open().order_by("pk"))
        reasons = waiting_on(tasks)
        # A parent with open children is not to be blocked (R19): none of them waits for that (R23).
        assert not Task.objects.open().filter(parent__status="blocked").exists()
        require_agreement(reasons, {reason["code"] for reason in reasons.values()})
        for row in TaskDelegation.objects.filter(status="pending"):
            assert offers_waiting_on([row])[row.pk] == reasons[row.task_id]
        for task in tasks:
            self.seen[reasons[task.pk]["code"]] += 1
            self.move(task, reasons[task.pk])

    def move(self, task: Task, reason: dict[str, Any]) -> None:
        """Do what the reason names, see that it changes the task, and take it back."""
        require_alive(reason["object"])
        now = datetime.now(UTC)
        with transaction.atomic():
            with TestCase.captureOnCommitCallbacks(execute=True):
                MOVES[WaitingCode(reason["code"])](Wait(task, reason, self.clock))
            fresh = Task.objects.get(pk=task.pk)
            after = shape(fresh, waiting_on([fresh]).get(task.pk))
            transaction.set_rollback(True)
        self.clock.move_to(now)
        type(self).moved += 1
        assert after != shape(task, reason), f"{reason} of {task.pk} leads nowhere"

    def teardown(self) -> None:
        """Come to rest, ask everything once more, and forget it all."""
        try:
            reasons = waiting_on(list(Task.objects.open()))
            require_agreement(reasons, WaitingCode.values)
            for _ in range(20):
                self.clock.shift(A_STEP)
                with TestCase.captureOnCommitCallbacks(execute=True):
                    if not sweep().total():
                        break
            found = unsound()
            assert not found, found
        finally:
            transaction.set_rollback(True)
            self.around.__exit__(None, None, None)


def require_agreement(reasons: dict[str, dict[str, Any]], codes: Iterable[str]) -> None:
    """Fail unless the dashboard counts what the tasks say, and lists by these codes hold them."""
    assert set(reasons) == set(Task.objects.open().values_list("pk", flat=True))
    assert dashboard()["waiting"] == Counter(reason["code"] for reason in reasons.values())
    places = Places.all()
    for code in codes:
        listed = Task.objects.filter(waiting_condition(code, places)).values_list("pk", flat=True)
        said = {pk for pk, reason in reasons.items() if reason["code"] == code}
        assert (code, set(listed)) == (code, said)


def require_alive(subject: str) -> None:
    """Fail unless the id is of a task, a pending delegation or a live instance."""
    tasks = Task.objects.filter(pk=subject)
    offers = TaskDelegation.objects.filter(pk=subject, status="pending")
    instances = HopperInstance.objects.live().filter(pk=subject)
    assert tasks.exists() or offers.exists() or instances.exists(), subject


def shape(task: Task, reason: dict[str, Any] | None) -> tuple[Any, ...]:
    """Return what of a task has to change when something is done about its reason."""
    told = {key: value for key, value in (reason or {}).items() if key not in ("since", "until")}
    return task.status, task.instance_id, task.offered_to_id, told
