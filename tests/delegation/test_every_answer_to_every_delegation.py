"""Every verb on a delegation in every state of R7: what it becomes, or 409 naming the state."""

from __future__ import annotations

import itertools
from unittest import mock

import pytest

from delegation.choices import DelegationStatus
from delegation.delegator import Delegator
from delegation.models import TaskDelegation
from hopper.errors import Conflict
from instances.models import Event
from instances.tasks.ending import cancel_task
from instances.tasks.worker import claim_task, fail_task
from tests.factories import ALICE, InstanceFactory, TaskFactory

pytestmark = [
    pytest.mark.unmeasured,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("sound"),
]

VERBS = ("accept", "reject", "complete", "cancel")
BECOMES = {
    ("pending", "accept"): "accepted",
    ("pending", "reject"): "rejected",
    ("pending", "complete"): "completed",
    ("pending", "cancel"): "cancelled",
    ("accepted", "complete"): "completed",
}
"""The edges that a caller takes; the others belong to time, to a task's end and to R11, R12."""
REPEATS = {
    ("accepted", "accept"),
    ("completed", "accept"),
    ("rejected", "reject"),
    ("completed", "complete"),
    ("cancelled", "cancel"),
}
"""The same answer again: 200 with the stored row."""


def _in(status: str) -> TaskDelegation:
    """Return a delegation to a run, in that state."""
    web = InstanceFactory(scope="PROJECT", name="web", id="web")
    run = InstanceFactory(scope="ORCHESTRATION", name="run", id="run", parent=web)
    task = TaskFactory(instance=web)
    delegator = Delegator(ALICE)
    row = delegator.delegate_task(task.pk, run.pk).delegation
    if status in ("accepted", "completed", "failed"):
        delegator.accept_delegation(row.pk)
    if status == "rejected":
        delegator.reject_delegation(row.pk, reason="busy")
    if status == "completed":
        delegator.complete_delegation(row.pk)
    if status == "cancelled":
        cancel_task(task.pk, actor=ALICE)
    if status == "failed":
        token = claim_task(task.pk, worker="bob", actor=ALICE).token
        fail_task(task.pk, token=token, retryable=False, actor=ALICE)
    if status == "expired":
        with mock.patch("hopper.database.now", return_value=row.expires_at):
            delegator.expire_delegation(row.pk)
    row.refresh_from_db()
    assert row.status == status
    return row


def _say(verb: str, row: TaskDelegation) -> TaskDelegation:
    options = {"reason": "busy"} if verb == "reject" else {}
    answered: TaskDelegation = getattr(Delegator(ALICE), f"{verb}_delegation")(row.pk, **options)
    return answered


@pytest.mark.parametrize(
    ("status", "verb"), list(itertools.product(DelegationStatus.values, VERBS))
)
def test_a_verb_changes_repeats_or_names_the_state(status: str, verb: str) -> None:
    row = _in(status)
    events = Event.objects.count()
    if (status, verb) in BECOMES:
        assert _say(verb, row).status == BECOMES[status, verb]
        assert _say(verb, row).status == BECOMES[status, verb]
    elif (status, verb) in REPEATS:
        assert _say(verb, row).status == status
        assert Event.objects.count() == events
    else:
        with pytest.raises(Conflict) as refusal:
            _say(verb, row)
        assert refusal.value.extra["state"] == status
        row.refresh_from_db()
        assert (row.status, Event.objects.count()) == (status, events)


@pytest.mark.parametrize("status", DelegationStatus.values)
def test_only_an_acceptance_moves_the_task(status: str) -> None:
    row = _in(status)
    moved = status in ("accepted", "completed", "failed")
    assert row.task.instance_id == ("run" if moved else "web")
    assert row.task.offered_to_id == ("run" if status == "pending" else None)


@pytest.mark.parametrize("status", ["accepted", "rejected", "cancelled", "completed", "failed"])
def test_an_offer_that_was_answered_just_before_its_time_ran_out_stands(status: str) -> None:
    row = _in(status)
    events = Event.objects.count()
    # A sweeper has read it while it was pending, and comes to it now.
    with mock.patch("hopper.database.now", return_value=row.expires_at):
        assert Delegator(ALICE).expire_delegation(row.pk).status == status
    assert Event.objects.count() == events
