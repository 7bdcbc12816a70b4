"""Delegations are looked at, and answered through the Delegator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from delegation.delegator import Delegator
from delegation.models import TaskDelegation
from tests.factories import ALICE, TaskFactory

if TYPE_CHECKING:
    from tests.admin.conftest import Family, Site

MODEL = "delegation_taskdelegation"


@pytest.fixture
def offer(family: Family) -> TaskDelegation:
    """A task at GLOBAL, offered to a project that has not answered."""
    task = TaskFactory(instance=family.top)
    Delegator(ALICE).delegate_task(task.pk, family.web.pk)
    return TaskDelegation.objects.get(task=task, status="pending")


def test_accepting_moves_the_task(site: Site, offer: TaskDelegation) -> None:
    assert site.act(MODEL, "accept", offer) == [f"Now accepted: {offer.pk}."]
    offer.refresh_from_db()
    assert (offer.status, offer.answered_by) == ("accepted", "alice")
    offer.task.refresh_from_db()
    assert offer.task.instance_id == "web"


def test_rejecting_needs_a_reason(site: Site, offer: TaskDelegation) -> None:
    page = site.post(f"{MODEL}_changelist", action="reject", _selected_action=[offer.pk], apply="y")
    assert b"This field is required" in page.content
    site.act(MODEL, "reject", offer, apply="yes", reason="too busy")
    offer.refresh_from_db()
    assert (offer.status, offer.rejection_reason) == ("rejected", "too busy")


def test_an_offer_can_be_taken_back(site: Site, offer: TaskDelegation) -> None:
    site.act(MODEL, "cancel", offer)
    offer.refresh_from_db()
    assert offer.status == "cancelled"


def test_an_answered_offer_is_refused_with_words(site: Site, offer: TaskDelegation) -> None:
    site.act(MODEL, "cancel", offer)
    (why,) = site.act(MODEL, "accept", offer)
    assert why.startswith(f"Refused for {offer.pk}: ")
    assert "cancelled" in why


def test_a_delegation_is_not_editable(site: Site, offer: TaskDelegation) -> None:
    assert site.get(f"{MODEL}_change", offer.pk).context["adminform"].form.fields == {}
    assert site.post(f"{MODEL}_change", offer.pk, status="accepted").status_code == 403
    assert site.get(f"{MODEL}_add").status_code == 403
    assert site.post(f"{MODEL}_delete", offer.pk, post="yes").status_code == 403


def test_other_staff_cannot_answer(onlooker: Site, offer: TaskDelegation) -> None:
    onlooker.act(MODEL, "accept", offer)
    offer.refresh_from_db()
    assert offer.status == "pending"
