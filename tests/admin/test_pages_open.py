"""Every page of the admin opens, for superusers and for other staff."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth import get_user_model

from delegation.delegator import Delegator
from delegation.placing import place_task
from instances.choices import Role
from instances.models import AgentToken, Attempt, Event, Grant
from instances.tasks.worker import claim_task
from scopes.models import RoutingDecision
from tests.factories import ALICE, TaskFactory

if TYPE_CHECKING:
    from tests.admin.conftest import Family, Site

pytestmark = pytest.mark.unmeasured

LISTS = [
    "instances_hopperinstance", "instances_task", "instances_event", "instances_attempt",
    "instances_agenttoken", "instances_grant", "delegation_taskdelegation",
    "scopes_routingdecision", "instances_webhook",
]  # fmt: skip


@pytest.mark.parametrize("model", LISTS)
def test_every_list_opens(site: Site, family: Family, model: str) -> None:
    TaskFactory(instance=family.top, tags=["web"], complexity=4)
    assert site.get(f"{model}_changelist").status_code == 200


@pytest.mark.parametrize("model", LISTS)
def test_other_staff_may_look(onlooker: Site, family: Family, model: str) -> None:
    assert onlooker.get(f"{model}_changelist").status_code == 200


def test_the_front_page_names_all_of_them(site: Site) -> None:
    page = site.client.get("/admin/").content.decode()
    for model in LISTS:
        assert "/admin/{}/{}/".format(*model.split("_")) in page


def test_every_record_opens(site: Site, family: Family) -> None:
    task = TaskFactory(instance=family.run)
    claim_task(task.pk, worker="worker-1", actor=ALICE)
    attempt, event = Attempt.objects.get(task=task), Event.objects.filter(task=task).first()
    assert event is not None
    for page, pk in [
        ("instances_hopperinstance", family.run.pk),
        ("instances_task", task.pk),
        ("instances_attempt", attempt.pk),
        ("instances_event", event.pk),
    ]:
        assert site.get(f"{page}_change", pk).status_code == 200


def test_a_record_leads_to_its_history_and_to_what_it_names(site: Site, family: Family) -> None:
    task = TaskFactory(instance=family.run)
    page = site.get("instances_task_change", task.pk).content.decode()
    assert '<a href="#history" class="historylink">' in page
    assert page.count('id="history"') == 1
    assert f'<a href="/admin/instances/hopperinstance/{family.run.pk}/change/">' in page
    page = site.get("instances_hopperinstance_change", family.run.pk).content.decode()
    assert f'<a href="/admin/instances/task/{task.pk}/change/">' in page


def test_a_record_that_never_changes_offers_no_history(site: Site, family: Family) -> None:
    place_task(TaskFactory(instance=family.top).pk)
    decision = RoutingDecision.objects.latest("id")
    page = site.get("scopes_routingdecision_change", decision.pk).content.decode()
    assert "Candidates" in page
    assert "historylink" not in page


def test_the_page_names_no_other_site(site: Site) -> None:
    assert "View site" not in site.client.get("/admin/").content.decode()


def test_the_admin_is_found_without_the_slash(site: Site, settings: Any) -> None:
    settings.ROOT_URLCONF = "hopper.urls"
    found = site.client.get("/admin")
    assert (found.status_code, found.headers["Location"]) == (302, "/admin/")


def test_a_lease_token_is_shown_nowhere(site: Site, family: Family) -> None:
    task = TaskFactory(instance=family.run)
    claim_task(task.pk, worker="worker-1", actor=ALICE)
    task.refresh_from_db()
    attempt = Attempt.objects.get(task=task)
    for page, pk in [("instances_task", task.pk), ("instances_attempt", attempt.pk)]:
        assert task.lease_token not in site.get(f"{page}_change", pk).content.decode()


@pytest.mark.parametrize(
    "address",
    [
        "agenttoken/?digest__startswith=a",
        "agenttoken/?token_key__startswith=hop_a",
        "agenttoken/?user__password__startswith=p",
        "grant/?user__password__startswith=p",
        "attempt/?lease_digest__startswith=a",
    ],
)
def test_no_list_is_searched_by_a_secret(site: Site, family: Family, address: str) -> None:
    assert site.client.get(f"/admin/instances/{address}").status_code == 400


def test_a_delegation_opens(site: Site, family: Family) -> None:
    task = TaskFactory(instance=family.web)
    delegation = Delegator(ALICE).delegate_task(task.pk, family.run.pk).delegation
    assert site.get("delegation_taskdelegation_change", delegation.pk).status_code == 200


def test_a_token_is_shown_by_its_digest_only(site: Site, family: Family) -> None:
    token, secret = AgentToken.objects.create(
        user=get_user_model().objects.get(), name="robot", role=Role.WORKER
    )
    page = site.get("instances_agenttoken_change", token.pk).content.decode()
    assert token.digest in page
    assert secret not in page


def test_a_grant_can_be_given_and_taken(site: Site, family: Family) -> None:
    user = get_user_model().objects.get()
    site.post("instances_grant_add", user=user.pk, instance=family.web.pk, role="operator")
    grant = Grant.objects.get()
    assert (grant.instance_id, grant.role) == (family.web.pk, "operator")
    site.post("instances_grant_delete", grant.pk, post="yes")
    assert not Grant.objects.exists()
