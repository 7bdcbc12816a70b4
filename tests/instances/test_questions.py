"""A question is asked and answered once, from every state of a task (R11, R20)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from delegation.delegator import Delegator
from delegation.placing import place_task
from hopper.errors import Conflict, HopperError, Invalid, LeaseLost
from instances.lifecycle.actions import pause_instance, resume_instance
from instances.models import Attempt, Question, Task
from instances.models.question import MAX_QUESTIONS
from instances.tasks.creating import NewTask
from instances.tasks.decomposing import create_children
from instances.tasks.ending import cancel_task
from instances.tasks.questions import NewQuestion, answer_question, ask
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_task, complete_task, heartbeat
from tests.factories import ALICE, InstanceFactory, TaskFactory

if TYPE_CHECKING:
    from collections.abc import Callable

    from instances.models import HopperInstance

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sound")]

WHICH = NewQuestion("MIT or Apache?")


@pytest.fixture
def run() -> HopperInstance:
    """The run of a project below a GLOBAL."""
    web = InstanceFactory(scope="PROJECT", parent=InstanceFactory(name="top"), name="web")
    return InstanceFactory(scope="ORCHESTRATION", parent=web, name="run")


def _pending(task: Task) -> None:
    pass


def _claimed(task: Task) -> None:
    claim_task(task.pk, worker="bob", actor=ALICE)


def _by_hand(task: Task) -> None:
    set_status(task.pk, status="in_progress", actor=ALICE)


def _blocked(task: Task) -> None:
    set_status(task.pk, status="blocked", reason="wait", actor=ALICE)


def _asked(task: Task) -> None:
    ask(task.pk, NewQuestion("What else?"), actor=ALICE)


def _decomposed(task: Task) -> None:
    create_children(task.pk, [NewTask(title="child")], terms={}, actor=ALICE)


def _offered(task: Task) -> None:
    phase = InstanceFactory(scope="ORCHESTRATION", parent=task.instance, name="phase")
    Delegator(ALICE).delegate_task(task.pk, phase.pk)


def _rising(task: Task) -> None:
    pause_instance("web", actor=ALICE)
    Delegator(ALICE).escalate_task(task.pk)


def _done(task: Task) -> None:
    set_status(task.pk, status="done", actor=ALICE)


def _cancelled(task: Task) -> None:
    cancel_task(task.pk, actor=ALICE)


@pytest.mark.parametrize("bring", [_pending, _claimed, _by_hand, _blocked])
def test_a_question_ends_the_work_and_blocks_the_task_at_its_holder(
    run: HopperInstance, bring: Callable[[Task], None]
) -> None:
    task = TaskFactory(instance=run)
    bring(task)
    asked = ask(task.pk, WHICH, actor=ALICE)
    assert (asked.status, asked.instance_id, asked.worker) == ("blocked", "run", "")
    assert (asked.waiting_code, asked.waiting["detail"]) == ("InputRequired", "MIT or Apache?")
    assert not asked.has_live_lease
    question = Question.objects.get(task=task)
    answered = answer_question(task.pk, question.pk, answer="MIT", actor=ALICE)
    assert (answered.status, answered.route_due) == ("pending", False)


@pytest.mark.parametrize(
    ("bring", "code"),
    [
        (_asked, "question_open"),
        (_decomposed, "decomposed"),
        (_offered, "already_delegated"),
        (_rising, "already_delegated"),
        (_done, "task_finished"),
        (_cancelled, "task_finished"),
    ],
)
def test_nothing_is_asked_where_nobody_could_go_on(
    run: HopperInstance, bring: Callable[[Task], None], code: str
) -> None:
    task = TaskFactory(instance=run)
    bring(task)
    before = Question.objects.count()
    with pytest.raises(Conflict) as refusal:
        ask(task.pk, WHICH, actor=ALICE)
    assert (refusal.value.code, Question.objects.count()) == (code, before)


def test_an_unassigned_task_is_not_asked_about() -> None:
    with pytest.raises(Conflict) as refusal:
        ask(TaskFactory(instance=None).pk, WHICH, actor=ALICE)
    assert refusal.value.code == "unassigned"


def test_eight_questions_are_enough(run: HopperInstance) -> None:
    task = TaskFactory(instance=run)
    for number in range(MAX_QUESTIONS):
        ask(task.pk, NewQuestion(f"question {number}"), actor=ALICE)
        question = Question.objects.get(task=task, state="open")
        answer_question(task.pk, question.pk, answer="yes", actor=ALICE)
    with pytest.raises(Conflict) as refusal:
        ask(task.pk, WHICH, actor=ALICE)
    assert refusal.value.code == "too_many_questions"


def test_the_same_question_of_the_same_attempt_is_asked_once(run: HopperInstance) -> None:
    task = TaskFactory(instance=run)
    lease = claim_task(task.pk, worker="bob", actor=ALICE)
    heartbeat(task.pk, token=lease.token, checkpoint={"step": 3}, actor=ALICE)
    for _ in range(2):
        ask(task.pk, WHICH, token=lease.token, actor=ALICE)
    question = Question.objects.get(task=task)
    assert (question.asked_by, question.attempt) == ("bob", 1)
    attempt = Attempt.objects.get(task=task)
    assert (attempt.outcome, attempt.checkpoint) == ("asked", {"step": 3})
    answer_question(task.pk, question.pk, answer="MIT", actor=ALICE)
    ask(task.pk, WHICH, token=lease.token, actor=ALICE)
    assert Question.objects.count() == 1
    again = claim_task(task.pk, worker="eve", actor=ALICE)
    assert (again.checkpoint, again.task.failures) == ({"step": 3}, 0)
    with pytest.raises(LeaseLost):
        ask(task.pk, NewQuestion("another one"), token=lease.token, actor=ALICE)


def test_a_report_after_the_question_learns_that_the_attempt_asked(run: HopperInstance) -> None:
    task = TaskFactory(instance=run)
    lease = claim_task(task.pk, worker="bob", actor=ALICE)
    ask(task.pk, WHICH, token=lease.token, actor=ALICE)
    with pytest.raises(LeaseLost) as refusal:
        complete_task(task.pk, token=lease.token, result="late", actor=ALICE)
    assert refusal.value.extra["outcome"] == "asked"


def test_the_same_answer_again_changes_nothing_and_another_one_is_refused(
    run: HopperInstance,
) -> None:
    task = TaskFactory(instance=run)
    ask(task.pk, WHICH, actor=ALICE)
    question = Question.objects.get(task=task)
    for _ in range(2):
        answer_question(task.pk, question.pk, answer="MIT", actor=ALICE)
    with pytest.raises(Conflict) as refusal:
        answer_question(task.pk, question.pk, answer="Apache", actor=ALICE)
    assert (refusal.value.code, refusal.value.extra["answer"]) == ("question_closed", "MIT")


@pytest.mark.parametrize(
    ("close", "state"),
    [
        (lambda task: cancel_task(task.pk, actor=ALICE), "cancelled"),
        (lambda task: set_status(task.pk, status="pending", actor=ALICE), "withdrawn"),
        (lambda task: set_status(task.pk, status="in_progress", actor=ALICE), "withdrawn"),
        (lambda task: set_status(task.pk, status="done", actor=ALICE), "withdrawn"),
    ],
)
def test_a_question_that_nobody_needs_any_more_is_closed(
    run: HopperInstance, close: Callable[[Task], object], state: str
) -> None:
    task = TaskFactory(instance=run)
    ask(task.pk, WHICH, actor=ALICE)
    close(task)
    question = Question.objects.get(task=task)
    assert (question.state, question.answer) == (state, None)
    with pytest.raises(Conflict) as refusal:
        answer_question(task.pk, question.pk, answer="MIT", actor=ALICE)
    assert refusal.value.extra["state"] == state


def test_a_claim_goes_on_without_the_answer_and_is_given_the_question(run: HopperInstance) -> None:
    task = TaskFactory(instance=run)
    web = run.parent
    Delegator(ALICE).escalate_task(task.pk, reason="MIT or Apache?")
    fresh = place_task(task.pk)
    assert (fresh.instance_id, fresh.status) == (web.pk, "pending")
    claim_task(task.pk, worker="bob", actor=ALICE)
    assert Question.objects.get(task=task).state == "set_aside"


def test_an_answer_ends_an_escalation_that_waits(run: HopperInstance) -> None:
    task = TaskFactory(instance=run)
    pause_instance("web", actor=ALICE)
    Delegator(ALICE).escalate_task(task.pk, reason="MIT or Apache?")
    question = Question.objects.get(task=task)
    answered = answer_question(task.pk, question.pk, answer="MIT", actor=ALICE)
    assert (answered.instance_id, answered.status, answered.offered_to_id) == (
        "run", "pending", None,
    )  # fmt: skip
    assert task.delegations.get().reason == "answered"
    resume_instance("web", actor=ALICE)


def test_choices_bind_the_default_and_the_answer(run: HopperInstance) -> None:
    task = TaskFactory(instance=run)
    with pytest.raises(Invalid):
        ask(task.pk, NewQuestion("Which?", ("a", "b"), "c"), actor=ALICE)
    ask(task.pk, NewQuestion("Which?", ("a", "b")), actor=ALICE)
    question = Question.objects.get(task=task)
    wrong: list[dict[str, Any]] = [
        {"question_id": question.pk, "answer": "c"},
        {"question_id": "q-none", "answer": "a"},
    ]
    for body in wrong:
        with pytest.raises(HopperError) as refusal:
            answer_question(task.pk, **body, actor=ALICE)
        assert isinstance(refusal.value, Invalid)


def test_recovery_does_not_lift_a_question(run: HopperInstance) -> None:
    task = TaskFactory(instance=run)
    ask(task.pk, WHICH, actor=ALICE)
    pause_instance("web", actor=ALICE)
    resume_instance("web", actor=ALICE)
    assert Task.objects.get(pk=task.pk).waiting_code == "InputRequired"
