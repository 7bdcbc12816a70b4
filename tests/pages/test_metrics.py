"""Monitors read depth, waits, refusals and ages at one address, with few labels."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path

import time_machine
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from delegation.delegator import Delegator
from delegation.sweep import sweep
from instances.models import AgentToken, HopperInstance, Webhook
from instances.tasks.worker import claim_next
from instances.webhooks.subscriptions import add_webhook
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.pages.conftest import Person

Tree = dict[str, HopperInstance]
DASHBOARD = Path(__file__).resolve().parents[2] / "deploy" / "grafana-dashboard.json"


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
    assert not re.search(r"\b(web|ops)\b", " ".join(before))


def test_a_monitor_needs_a_token_that_sees_everything(
    person: Callable[..., Person], tree: Tree
) -> None:
    assert Client().get("/metrics").status_code == 401
    assert person("eve", "admin", tree["ops"]).get("/metrics").status_code == 403
    user = get_user_model().objects.create_user("monitor")
    _, secret = AgentToken.objects.create(user, name="monitor", role="viewer")
    assert figures(Client(headers={"Authorization": f"Bearer {secret}"}))


def test_metrics_show_offers_webhooks_and_the_last_check(ada: Person, tree: Tree) -> None:
    offered = TaskFactory(instance=tree["top"])
    Delegator(ALICE).delegate_task(offered.pk, "web", accept="auto")
    on, off = (add_webhook("web", "https://example.org/", actor=ALICE) for _ in range(2))
    Webhook.objects.filter(pk=off.pk).update(enabled=False, off_reason="failed for a day")
    assert figures(ada)["hopper_webhook_lag_seconds"] == 0
    TaskFactory(instance=tree["web"])
    with time_machine.travel(timezone.now() + timedelta(seconds=90)):
        found = figures(ada)
    assert 85 < found["hopper_webhook_lag_seconds"] < 120
    assert found["hopper_webhooks on"] == found["hopper_webhooks switched_off"] == 1
    assert 0 <= found["hopper_accept_wait_seconds 0.5"] < 60
    assert on.position > 0


def test_the_dashboard_asks_for_figures_that_there_are(ada: Person, tree: Tree) -> None:
    call_command("hopper_check", stdout=StringIO())
    sweep()
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    asked = {target["expr"] for panel in board["panels"] for target in panel["targets"]}
    named = {name for expr in asked for name in re.findall(r"hopper_\w+", expr)}
    told = ada.get("/metrics").content.decode()
    assert named == set(re.findall(r"^# TYPE (hopper_\w+) ", told, re.MULTILINE))
