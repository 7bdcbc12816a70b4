"""A report made again changes nothing; one that says something else is refused and kept (R20)."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection

from delegation.delegator import Delegator
from hopper.errors import AlreadyEnded, Conflict, HopperError
from instances.models import Attempt, Event, Task
from instances.tasks.ending import cancel_task, discard_task
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_task, complete_task, fail_task
from tests.factories import ALICE, InstanceFactory, TaskFactory

if TYPE_CHECKING:
    from collections.abc import Callable

    from instances.tasks.worker import Lease

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]

VALUES: list[Any] = [1, 1.5, 1e2, 1e23, 0, True, "yes", [1, {"b": 2, "a": None}], {}]


@pytest.fixture
def lease() -> Lease:
    web = InstanceFactory(scope="PROJECT", name="web")
    run = InstanceFactory(scope="ORCHESTRATION", parent=web, name="run")
    return claim_task(TaskFactory(instance=run).pk, worker="bob", actor=ALICE)


def _complete(lease: Lease, result: Any, *, token: bool = True) -> Task:
    held = lease.token if token else None
    return complete_task(lease.task.pk, token=held, result=result, actor=ALICE)


def _fail(lease: Lease, error: str, *, retryable: bool = False) -> Task:
    said = {"error": error, "retryable": retryable}
    return fail_task(lease.task.pk, token=lease.token, actor=ALICE, **said)


@pytest.mark.parametrize("token", [True, False])
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_the_same_result_again_changes_nothing(lease: Lease, value: Any, token: bool) -> None:
    _complete(lease, value)
    stored, events = Task.objects.get().result, Event.objects.count()
    assert _complete(lease, value, token=token).result == stored
    assert _complete(lease, None, token=token).result == stored
    assert Event.objects.count() == events
    assert Attempt.objects.get().artifact is None


@pytest.mark.parametrize(
    ("first", "second"), [(1, 2), (1, True), (0, False), ({"a": 1}, {"a": 2}), ([1], [1, 1])]
)
def test_another_result_is_refused_and_kept(lease: Lease, first: Any, second: Any) -> None:
    _complete(lease, first)
    with pytest.raises(AlreadyEnded, match="done already, with another result") as refusal:
        _complete(lease, second)
    assert refusal.value.extra["state"] == "done"
    assert Task.objects.get().result == first
    assert Attempt.objects.get().artifact == second


def test_every_late_value_is_kept_once(lease: Lease) -> None:
    _complete(lease, 1)
    for late in (2, 3, 2, {"a": 4}, 3):
        with pytest.raises(AlreadyEnded):
            _complete(lease, late)
    attempt = Attempt.objects.get()
    assert (attempt.artifact, attempt.more_artifacts) == (2, [3, {"a": 4}])


def test_a_person_learns_of_the_stored_result(lease: Lease) -> None:
    _complete(lease, 1)
    with pytest.raises(AlreadyEnded):
        _complete(lease, 2, token=False)


def test_a_failure_after_the_completion_is_refused_and_kept(lease: Lease) -> None:
    _complete(lease, 1)
    with pytest.raises(AlreadyEnded, match="done already"):
        _fail(lease, "disk full")
    assert Attempt.objects.get().artifact == "disk full"


@pytest.mark.parametrize("retryable", [True, False])
def test_a_completion_after_the_failure_is_refused_and_kept(lease: Lease, retryable: bool) -> None:
    _fail(lease, "disk full", retryable=retryable)
    assert _fail(lease, "disk full").error == "disk full"
    with pytest.raises(AlreadyEnded, match="failed already"):
        _complete(lease, {"rows": 3})
    with pytest.raises(AlreadyEnded, match="with another error"):
        _fail(lease, "no network")
    attempt = Attempt.objects.get()
    assert (attempt.artifact, attempt.more_artifacts) == ({"rows": 3}, ["no network"])


def test_a_cancel_for_another_reason_is_refused(lease: Lease) -> None:
    cancel = partial(cancel_task, lease.task.pk, actor=ALICE)
    cancel(reason="not needed")
    assert cancel(reason="not needed").error == cancel().error == "not needed"
    with pytest.raises(AlreadyEnded, match="cancelled already, with another reason"):
        cancel(reason="too dear")


def test_a_status_of_cancelled_for_another_reason_is_refused(lease: Lease) -> None:
    cancel_task(lease.task.pk, reason="not needed", actor=ALICE)
    cancel = partial(set_status, lease.task.pk, status="cancelled", actor=ALICE)
    assert cancel(reason="not needed").error == cancel().error == "not needed"
    with pytest.raises(AlreadyEnded, match="with another reason"):
        cancel(reason="too dear")


def test_a_discard_for_another_reason_is_refused(lease: Lease) -> None:
    _fail(lease, "disk full")
    discard = partial(discard_task, lease.task.pk, actor=ALICE)
    events = [Event.objects.count() for _ in (discard(reason="old"), discard(reason="old"))]
    assert len(set(events)) == 1
    with pytest.raises(AlreadyEnded, match="discarded already, with another reason"):
        discard(reason="wrong")


def test_work_taken_by_hand_is_given_to_another_owner_by_force_alone(lease: Lease) -> None:
    task = TaskFactory(instance=lease.task.instance)
    take = partial(set_status, task.pk, status="in_progress", actor=ALICE)
    take(owner="ann")
    assert take(owner="ann").worker == take().worker == "ann"
    with pytest.raises(Conflict, match="taken by ann") as refusal:
        take(owner="ben")
    assert refusal.value.code == "taken"
    with pytest.raises(Conflict, match="taken by ann"):
        set_status(task.pk, status="claimed", owner="ben", actor=ALICE)
    take(owner="ben", force=True)
    assert Task.objects.get(pk=task.pk).worker == "ben"


def test_a_task_that_is_blocked_takes_a_new_reason(lease: Lease) -> None:
    task = TaskFactory(instance=lease.task.instance)
    block = partial(set_status, task.pk, status="blocked", actor=ALICE)
    block(reason="which licence?")
    block()
    block(reason="which version of the licence?")
    task.refresh_from_db()
    assert task.waiting["detail"] == "which version of the licence?"


@pytest.mark.parametrize("verb", ["reject_delegation", "cancel_delegation"])
def test_another_reason_for_an_answered_offer_is_refused(verb: str) -> None:
    web = InstanceFactory(scope="PROJECT", name="web")
    run = InstanceFactory(scope="ORCHESTRATION", parent=web, name="run")
    delegator = Delegator(ALICE)
    offer = delegator.delegate_task(TaskFactory(instance=web).pk, run.pk).delegation
    answer: Callable[..., Any] = partial(getattr(delegator, verb), offer.pk)
    first = answer(reason="busy")
    assert answer(reason="busy").completed_at == first.completed_at
    with pytest.raises(AlreadyEnded, match="with another reason"):
        answer(reason="no")


def test_another_result_of_a_delegation_is_refused() -> None:
    web = InstanceFactory(scope="PROJECT", name="web")
    run = InstanceFactory(scope="ORCHESTRATION", parent=web, name="run")
    delegator = Delegator(ALICE)
    offer = delegator.delegate_task(TaskFactory(instance=web).pk, run.pk).delegation
    delegator.complete_delegation(offer.pk, result={"n": 1})
    assert delegator.complete_delegation(offer.pk, result={"n": 1}).result == {"n": 1}
    with pytest.raises(AlreadyEnded, match="with another result"):
        delegator.complete_delegation(offer.pk, result={"n": 2})


def test_of_eight_completions_at_once_one_counts_and_seven_are_kept(lease: Lease) -> None:
    def report(number: int) -> str:
        try:
            _complete(lease, {"of": number})
        except HopperError as refusal:
            return refusal.code
        finally:
            connection.close()
        return "ok"

    with ThreadPoolExecutor(8) as threads:
        said = Counter(threads.map(report, range(8)))

    assert said == {"ok": 1, "already_ended": 7}
    attempt = Attempt.objects.get()
    values = [Task.objects.get().result, attempt.artifact, *attempt.more_artifacts]
    assert sorted(value["of"] for value in values) == list(range(8))
