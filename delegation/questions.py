"""Time-outs of open questions: the default answers, else the question is raised (R11)."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Q, QuerySet

from delegation.delegator import Delegator, escalation_target
from hopper import database
from hopper.actors import Actor
from instances.choices import QuestionState, WaitingCode
from instances.models import HopperInstance, Question
from instances.tasks.changes import lock_task, present_task
from instances.tasks.questions import expire_question


def overdue_questions() -> QuerySet[Question]:
    """Return the open questions with which something is to be done because their time is over."""
    over = Question.objects.filter(state=QuestionState.OPEN, until__lte=database.now())
    unraised = Q(raised_at=None, task__waiting__code=WaitingCode.INPUT_REQUIRED)
    return over.filter(Q(default__isnull=False) | unraised).order_by("until", "id")


def time_out_question(question_id: str, *, actor: Actor) -> bool:
    """Answer an overdue question with its default, else raise it; return whether it did."""
    question = Question.objects.get(pk=question_id)
    act = raise_question if question.default is None else expire_question
    return act(question_id, actor=actor)


def raise_question(question_id: str, *, actor: Actor) -> bool:
    """Mark an overdue question as raised and escalate its task once; return whether it did.

    The condition is repeated under the locks. At a root the question is only marked.
    """
    read = present_task(Question.objects.get(pk=question_id).task_id)
    above = escalation_target(read)
    with transaction.atomic():
        if above is not None:
            # The level above is locked before the task (R6).
            database.lock_shared(HopperInstance, above)
        task = lock_task(read.pk)
        if escalation_target(task) != above:
            return False
        still_due = overdue_questions().filter(pk=question_id).order_by()
        if not still_due.update(raised_at=database.now()):
            return False
        if above is not None:
            Delegator(actor).escalate_task(task.pk)
    return True
