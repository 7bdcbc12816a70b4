"""Monitors read depth, waits, refusals and ages at one address, with few labels."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.contrib.auth import get_user_model
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from delegation.delegator import Delegator
from delegation.sweep import sweep
from instances.models import AgentToken, HopperInstance
from instances.tasks.worker import claim_next
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.pages.conftest import Person

Tree = dict[str, HopperInstance]


def figures(client: Client) -> dict[str, float]:
    """Return each figure with its labels."""
    answer = client.get("/metrics")
    assert answer.status_code == 200, answer.content
    families = text_string_to_metric_families(answer.content.decode())
    return {
        " ".join((one.name, *one.labels.values())): one.value for f in families for one in f.samples
    }


def test_the_figures_are_those_of_the_tree(ada: Person, tree: Tree) -> None:
    for _ in range(3):
        TaskFactory(instance=tree["web-run"])
    claim_next("web-run", worker="w", actor=ALICE)
    refused = TaskFactory(instance=tree["top"])
    offer = Delegator(ALICE).delegate_task(refused.pk, "web").delegation
    Delegator(ALICE).reject_delegation(offer.pk, reason="no")
    sweep()
    found = figures(ada)
    assert found["hopper_tasks_depth ORCHESTRATION"] == 2
    assert found["hopper_in_flight ORCHESTRATION"] == 1
    assert found["hopper_tasks_waiting ReadyForWorker"] == 2
    assert found["hopper_rejections_last_hour rejected"] == 1
    assert found["hopper_rescues_last_hour"] == 0
    assert found["hopper_oldest_waiting_seconds ORCHESTRATION"] < 60
    assert found["hopper_claim_wait_seconds 0.5"] < 60
    assert found["hopper_sweep_age_seconds"] < 60


def test_the_labels_do_not_grow_with_the_tree(ada: Person, tree: Tree) -> None:
    before = figures(ada).keys()
    InstanceFactory(scope="ORCHESTRATION", parent=tree["web"], name="one-more")
    assert figures(ada).keys() == before
    assert not re.search(r"web|ops", " ".join(before))


def test_a_monitor_needs_a_token_that_sees_everything(
    person: Callable[..., Person], tree: Tree
) -> None:
    assert Client().get("/metrics").status_code == 401
    assert person("eve", "admin", tree["ops"]).get("/metrics").status_code == 403
    user = get_user_model().objects.create_user("monitor")
    _, secret = AgentToken.objects.create(user, name="monitor", role="viewer")
    assert figures(Client(headers={"Authorization": f"Bearer {secret}"}))
