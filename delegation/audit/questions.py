"""Questions about questions: whether each open one can be answered, and none was lost: I23."""

from __future__ import annotations

from django.db.models import Exists, F, OuterRef, Q

from delegation.audit.extent import Breaches, Extent, said
from delegation.choices import DelegationStatus as D, DelegationType
from delegation.models import TaskDelegation
from instances.choices import STARTED, TERMINAL, QuestionState, TaskStatus as T
from instances.models import WITH_ANSWER, Attempt, Question, Task


def questions(asked: Extent) -> Breaches:
    """I23: at most one question of a task is open, and only where it can be answered."""
    yield from _open_ones(asked)
    yield from _answers(asked)
    yield from _blocked(asked)
    yield from _moving(asked)
    yield from _unanswered_askers(asked)


def _open_ones(asked: Extent) -> Breaches:
    """Yield open questions beside another one, and those of tasks that go on without an answer."""
    rows = asked.tasks(Question.objects.filter(state=QuestionState.OPEN), "task")
    another = Question.objects.filter(task=OuterRef("task"), state=QuestionState.OPEN)
    earlier = rows.filter(Exists(another.filter(number__lt=OuterRef("number"))))
    yield from said(earlier, "task_id", "has another open question than {pk}")
    closed = Q(task__status__in=(*TERMINAL, *STARTED))
    yield from said(rows.filter(closed), "task_id", "is {task__status}, but {pk} is open")


def _answers(asked: Extent) -> Breaches:
    """Yield answered and expired questions without an answer, and others with one."""
    rows = asked.tasks(Question.objects.all(), "task")
    wanting = Q(state__in=WITH_ANSWER, answer=None)
    wrong = wanting | (~Q(state__in=WITH_ANSWER) & Q(answer__isnull=False))
    yield from said(
        rows.filter(wrong), "task_id", "{pk} is {state}, which does not agree with its answer"
    )


def _blocked(asked: Extent) -> Breaches:
    """Yield tasks that are blocked by a question which is not open."""
    rows = asked.tasks(Task.objects.filter(status=T.BLOCKED, waiting__has_key="question"))
    stored = dict(rows.values_list("pk", "waiting__question"))
    still_open = Question.objects.filter(task__in=stored, state=QuestionState.OPEN)
    known = set(still_open.values_list("task_id", "pk"))
    for pk, question in stored.items():
        if (pk, question) not in known:
            yield pk, f"is blocked by {question}, which is not open"


def _moving(asked: Extent) -> Breaches:
    """Yield tasks that go back without moving, and escalations with a closed question."""
    back = asked.tasks(Task.objects.filter(return_to__isnull=False))
    resting = back.filter(route_due=False, offered_to=None)
    yield from said(resting, "pk", "goes back to {return_to_id}, but is neither due nor offered")
    carrying = TaskDelegation.objects.filter(
        status=D.PENDING, delegation_type=DelegationType.ESCALATE, question__isnull=False
    )
    closed = asked.tasks(carrying, "task").exclude(question__state=QuestionState.OPEN)
    yield from said(closed, "task_id", "{pk} carries a question that is closed")


def _unanswered_askers(asked: Extent) -> Breaches:
    """Yield leases of askers whose question was set aside in the same epoch, unless forced."""
    forced = TaskDelegation.objects.filter(
        task=OuterRef("task"),
        target_instance=OuterRef("instance"),
        epoch=OuterRef("epoch"),
        forced=True,
        delegated_at__gte=OuterRef("asked_at"),
    )
    later = Attempt.objects.filter(
        task=OuterRef("task"),
        instance=OuterRef("instance"),
        epoch=OuterRef("epoch"),
        started_at__gt=OuterRef("asked_at"),
    )
    rows = Question.objects.filter(Exists(later), ~Exists(forced), state=QuestionState.SET_ASIDE)
    for task_id, pk, asker in asked.tasks(rows, "task").values_list(
        "task_id", "pk", F("instance_id")
    ):
        yield task_id, f"{asker} has it again without an answer to {pk}"


QUESTIONS = (
    ("I23", "an open question can be answered, and the asker goes on with the answer", questions),
)
