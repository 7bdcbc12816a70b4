"""Questions about tasks: ask, answer, time out; each a row under the lock of its task (R11)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from hopper import database
from hopper.actors import Actor
from hopper.errors import Conflict, Invalid
from hopper.ids import new_id
from instances.choices import AttemptOutcome, QuestionState, TaskStatus as T, WaitingCode
from instances.models import MAX_QUESTIONS, Attempt, Question, Task, lineages
from instances.signals import offer_overtaken
from instances.tasks.changes import amend_task, change_task, lock_task, rest_task
from instances.tasks.leases import require_lease


@dataclass(frozen=True)
class NewQuestion:
    """A question to ask. `choices` () takes any answer; `default` is the answer at a time-out."""

    text: str
    choices: tuple[str, ...] = ()
    default: str | None = None
    timeout_seconds: int | None = None


def ask(task_id: str, new: NewQuestion, *, token: str | None = None, actor: Actor) -> Task:
    """Ask about a task: its lease ends, its checkpoint stays, it is blocked for a person (R11).

    `token` is that of the asking worker's lease. The same question of the same attempt again
    changes nothing (R20). Raises Conflict where nothing can be asked now, LeaseLost or Gone for a
    lease that is over, Invalid for a default that is no choice.
    """
    if new.choices and new.default is not None and new.default not in new.choices:
        raise Invalid.field("default", f"is none of the choices: {', '.join(new.choices)}")
    with transaction.atomic():
        task = lock_task(task_id)
        if _asked_before(task, new.text, token):
            return task
        if token is not None:
            require_lease(task, token)
        _require_askable(task)
        now = database.now()
        row = open_question(task, new, by=task.worker if token else actor.name, now=now)
        await_answer(task, row, now)
        data: dict[str, Any] = {"question_id": row.pk, "question": row.text, "attention": True}
        if task.status == T.BLOCKED:
            amend_task(task, "task.asked", actor=actor, now=now, **data)
        else:
            outcome = AttemptOutcome.ASKED
            change_task(
                task, T.BLOCKED, actor=actor, now=now, kind="task.asked", outcome=outcome, **data
            )
    return task


def open_question(task: Task, new: NewQuestion, *, by: str, now: datetime) -> Question:
    """Create the open question of a locked task, which the caller writes afterwards."""
    task.asked += 1
    seconds = new.timeout_seconds
    return Question.objects.create(
        id=new_id("q"),
        task=task,
        number=task.asked,
        epoch=task.epoch,
        attempt=task.attempt if task.has_live_lease else None,
        asked_by=by,
        instance_id=str(task.instance_id),
        text=new.text,
        choices=list(new.choices),
        default=new.default,
        until=None if seconds is None else now + timedelta(seconds=seconds),
        rests=task.has_live_lease or (task.status == T.PENDING and not task.route_due),
        asked_at=now,
    )


def await_answer(task: Task, question: Question, now: datetime, detail: str = "") -> None:
    """Set the stored reason of a task: it waits for the answer to its open question (R26)."""
    until = question.until.isoformat() if question.until else None
    words = detail or question.text
    task.wait(WaitingCode.INPUT_REQUIRED, now, detail=words, question=question.pk, until=until)


def require_answer(task: Task, question: Question | None, *, actor: Actor, now: datetime) -> None:
    """Block a locked, pending task until its open question is answered (R11)."""
    if question is None:
        raise ValueError(f"{task.pk} has no open question.")
    await_answer(task, question, now)
    data: dict[str, Any] = {"reason": question.text, "question_id": question.pk, "attention": True}
    change_task(task, T.BLOCKED, actor=actor, now=now, **data)


def answer_question(
    task_id: str, question_id: str, *, answer: str, back: bool = True, actor: Actor
) -> Task:
    """Answer a question: the task goes on, and `back` to the instance that asked (R11).

    The same answer again changes nothing. Raises Invalid for an unknown question or an answer that
    is no choice, Conflict for a question that is closed, with the stored answer.
    """
    with transaction.atomic():
        task = lock_task(task_id)
        question = Question.objects.filter(pk=question_id, task=task).first()
        if question is None:
            raise Invalid.field("question_id", f"{task_id} has no such question", "unknown")
        if question.choices and answer not in question.choices:
            known = ", ".join(question.choices)
            raise Invalid.field("answer", f"is none of the choices: {known}")
        if question.answer != answer:
            _require_open(question)
            _close(task, question, QuestionState.ANSWERED, answer, back=back, actor=actor)
    return Task.objects.get(pk=task_id)


def expire_question(question_id: str, *, actor: Actor) -> bool:
    """Answer an open question whose time is over with its default; return whether it did (R11)."""
    read = Question.objects.get(pk=question_id)
    with transaction.atomic():
        task = lock_task(read.task_id)
        question = Question.objects.get(pk=question_id)
        default, until = question.default, question.until
        if not question.is_open or default is None or until is None or until > database.now():
            return False
        _close(task, question, QuestionState.EXPIRED, default, back=True, actor=actor)
    return True


def _asked_before(task: Task, text: str, token: str | None) -> bool:
    """Return whether the same attempt has asked this already (R20)."""
    asked = Question.objects.filter(task=task, text=text) if task.asked else Question.objects.none()
    if token is None:
        return asked.filter(attempt=None, state=QuestionState.OPEN).exists()
    attempt = Attempt.objects.of_lease(task.pk, token)
    if attempt is None or attempt.outcome != AttemptOutcome.ASKED:
        return False
    return asked.filter(attempt=attempt.number).exists()


def _require_askable(task: Task) -> None:
    """Raise Conflict, saying why, where no question can be asked about the task now (R11)."""
    question = Question.objects.open_of(task)
    refusals = (
        (task.is_terminal, "task_finished", f"it is {task.status}; retry it first"),
        (task.instance_id is None, "unassigned", "no instance holds the task"),
        (task.decomposed, "decomposed", "it waits for its children"),
        (task.offered_to_id is not None, "already_delegated", f"{task.offered_to_id} is asked"),
        (task.route_due, "route_due", "it is about to be placed"),
        (question is not None, "question_open", f"{question and question.pk} is open"),
        (task.asked >= MAX_QUESTIONS, "too_many_questions", f"{task.asked} were asked already"),
    )
    for refused, code, why in refusals:
        if refused:
            raise Conflict(
                f"Nothing can be asked about {task.pk} now: {why}.", code=code, state=task.status
            )


def _require_open(question: Question) -> None:
    if not question.is_open:
        words = f": {question.answer!r}" if question.answer is not None else ""
        raise Conflict(
            f"{question.pk} is {question.state.replace('_', ' ')}{words}.",
            code="question_closed",
            state=question.state,
            answer=question.answer,
        )


def _close(
    task: Task, question: Question, state: str, answer: str, *, back: bool, actor: Actor
) -> None:
    """Close the open question of a locked task with its answer, and let the task go on."""
    now = database.now()
    still_open = Question.objects.filter(pk=question.pk, state=QuestionState.OPEN)
    still_open.update(state=state, answer=answer, answered_by=actor.name, answered_at=now)
    kind = "task.answered" if state == QuestionState.ANSWERED else "task.question_expired"
    data: dict[str, Any] = {"question_id": question.pk, "answer": answer}
    rises = task.waiting_code == WaitingCode.AWAITING_ESCALATION and task.offered_to_id is not None
    if task.offered_to_id is not None and not rises:
        amend_task(task, kind, actor=actor, now=now, **data)
        return
    due = task.route_due
    at_rest = question.rests or (task.status == T.PENDING and not rises)
    if rises:
        offer_overtaken.send(Task, task=task, reason="answered", actor=actor, now=now)
    here = task.instance_id == question.instance_id
    if back and not here and _is_above(task.instance_id, question.instance_id):
        task.return_to_id = question.instance_id
    rest_task(task, kind=kind, actor=actor, now=now, placed=here and at_rest and not due, **data)


def _is_above(holder_id: str | None, instance_id: str) -> bool:
    line = lineages([instance_id]).get(instance_id, [])
    return holder_id in [ancestor.id for ancestor in line[:-1]]
