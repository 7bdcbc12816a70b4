"""Of an answer and a time-out, or of two answers, at the same moment one closes the question."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.utils import timezone

from delegation.sweep import sweep
from hopper.errors import Conflict
from instances.models import Question, Task
from instances.tasks.questions import NewQuestion, answer_question, ask
from instances.tasks.worker import claim_task
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.soundness import unsound

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 8


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Do all of it at the same moment, each on a connection of its own; return what came of it."""
    start, found = threading.Barrier(len(acts)), [None] * len(acts)

    def do(place: int) -> None:
        try:
            start.wait()
            found[place] = acts[place]()
        except Conflict as refusal:
            found[place] = refusal
        finally:
            connection.close()

    threads = [threading.Thread(target=do, args=(place,)) for place in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


@pytest.fixture
def question() -> Callable[..., Question]:
    """Make a task and the open question about it."""
    web = InstanceFactory(scope="PROJECT", name="web")
    run = InstanceFactory(scope="ORCHESTRATION", parent=web, name="run")

    def make(**terms: Any) -> Question:
        task = TaskFactory(instance=run)
        ask(task.pk, NewQuestion("MIT or Apache?", **terms), actor=ALICE)
        return Question.objects.get(task=task)

    return make


def _answer(question: Question, words: str) -> Callable[[], Any]:
    return lambda: answer_question(question.task_id, question.pk, answer=words, actor=ALICE)


@pytest.mark.postgres
def test_one_of_two_answers_counts(question: Callable[..., Question]) -> None:
    for _ in range(ROUNDS):
        asked = question()
        found = at_once(_answer(asked, "MIT"), _answer(asked, "Apache"))
        (refusal,) = [one for one in found if isinstance(one, Conflict)]
        asked.refresh_from_db()
        assert (asked.state, refusal.extra["answer"]) == ("answered", asked.answer)
    assert unsound() == []


@pytest.mark.postgres
def test_an_answer_and_a_time_out_give_one_answer(question: Callable[..., Question]) -> None:
    for _ in range(ROUNDS):
        asked = question(default="Apache", timeout_seconds=60)
        Question.objects.update(until=timezone.now() - timedelta(seconds=1))
        answered, _ = at_once(_answer(asked, "MIT"), sweep)
        asked.refresh_from_db()
        won = "MIT" if asked.state == "answered" else "Apache"
        assert asked.answer == won
        assert isinstance(answered, Conflict) == (won == "Apache")
        assert Task.objects.get(pk=asked.task_id).status == "pending"
    assert unsound() == []


@pytest.mark.postgres
def test_two_questions_at_once_open_one(question: Callable[..., Question]) -> None:
    run = question().instance
    for _ in range(ROUNDS):
        task = TaskFactory(instance=run)
        found = at_once(
            lambda pk=task.pk: ask(pk, NewQuestion("one?"), actor=ALICE),
            lambda pk=task.pk: ask(pk, NewQuestion("two?"), actor=ALICE),
        )
        assert [isinstance(one, Conflict) for one in found].count(True) == 1
        assert Question.objects.filter(task=task).count() == 1
    assert unsound() == []


@pytest.mark.postgres
def test_a_claim_and_an_answer_leave_no_open_question(question: Callable[..., Question]) -> None:
    for _ in range(ROUNDS):
        asked = question()
        answer_question(asked.task_id, asked.pk, answer="MIT", actor=ALICE)
        found = at_once(
            lambda pk=asked.task_id: claim_task(pk, worker="bob", actor=ALICE),
            lambda pk=asked.task_id: ask(pk, NewQuestion("and now?"), actor=ALICE),
        )
        held = Task.objects.get(pk=asked.task_id)
        assert held.status in ("claimed", "blocked")
        assert held.status == "blocked" or not isinstance(found[0], Conflict)
    assert unsound() == []
