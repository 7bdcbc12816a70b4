"""Ways to break what is promised of questions."""

from __future__ import annotations

from delegation.delegator import Delegator
from instances.lifecycle.actions import pause_instance
from instances.models import Question
from instances.tasks.ending import cancel_task
from instances.tasks.questions import NewQuestion, ask
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_next
from tests.factories import ALICE
from tests.operators.breakage import World, breaks


def asked(world: World) -> None:
    """Ask about the task that waits at the run."""
    ask(world.queued.pk, NewQuestion("MIT or Apache?"), actor=ALICE)


@breaks("I23")
def leave_open_what_nobody_needs(world: World) -> None:
    asked(world)
    cancel_task(world.queued.pk, actor=ALICE)
    Question.objects.update(state="open")


@breaks("I23")
def close_without_unblocking(world: World) -> None:
    asked(world)
    Question.objects.update(state="withdrawn")


@breaks("I23")
def carry_a_closed_question(world: World) -> None:
    pause_instance(world.web.pk, actor=ALICE)
    Delegator(ALICE).escalate_task(world.queued.pk, reason="MIT or Apache?")
    Question.objects.update(state="withdrawn")


@breaks("I23")
def work_on_without_the_answer(world: World) -> None:
    asked(world)
    set_status(world.queued.pk, status="pending", actor=ALICE)
    claim_next(world.run.pk, worker="eve", actor=ALICE)
    Question.objects.update(state="set_aside")


@breaks("I23")
def work_beside_an_open_question(world: World) -> None:
    asked(world)
    set_status(world.queued.pk, status="in_progress", actor=ALICE)
    Question.objects.update(state="open")
