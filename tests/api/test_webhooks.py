"""Webhooks are added, changed, replayed and removed by admins of an instance, and by no others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from instances.models import HopperInstance, IdempotencyRecord, Webhook
from tests.api.conftest import Caller
from tests.factories import TaskFactory

Tree = dict[str, HopperInstance]
URL = "https://hooks.example.org/hopper?key=1"


def body(**more: Any) -> dict[str, Any]:
    return {"url": URL, "instance_id": "web", **more}


def test_a_secret_is_shown_once(ada: Caller, tree: Tree) -> None:
    made = ada.tell("/webhooks", body(kinds=["task.done"], description="chat"), 201)
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert ada.ask(f"/webhooks/{made['id']}") == made
    assert ada.ask("/webhooks")["results"] == [made]
    assert ada.tell(f"/webhooks/{made['id']}/replay") == made
    assert "secret" not in ada.call("PATCH", f"/webhooks/{made['id']}", {"kinds": []}).json()
    again = ada.tell(f"/webhooks/{made['id']}/rotate")
    assert again["secret"].startswith("whsec_")
    assert again["secret"] != secret
    assert (again["secret_number"], made["secret_number"]) == (2, 1)


def test_of_a_notice_the_service_alone_is_shown(ada: Caller, tree: Tree) -> None:
    secret = "TIiajkdnlazkcOXrIdevi7FQ"
    made = ada.tell("/webhooks", body(url=f"slack://T1JJ3T3L2/A1BRTD4JD/{secret}"), 201)
    assert made["url"] == "slack://***"
    address = f"/webhooks/{made['id']}"
    changed = ada.call("PATCH", address, {"url": made["url"], "description": "chat"}).json()
    assert (changed["url"], changed["description"]) == ("slack://***", "chat")
    assert secret in Webhook.objects.get().url
    assert secret not in str([ada.ask(address), ada.ask("/webhooks"), ada.tell(f"{address}/test")])


def test_no_table_holds_a_secret(ada: Caller, tree: Tree) -> None:
    key = {"Idempotency-Key": "hook-1"}
    made = ada.tell("/webhooks", body(), 201, **key)
    assert ada.tell("/webhooks", body(), 201, **key) == made, "a lost answer comes again"
    stored = [*Webhook.objects.values(), *IdempotencyRecord.objects.values()]
    assert len(stored) == 2
    assert made["secret"].removeprefix("whsec_") not in str(stored)


def test_only_an_admin_of_the_instance_sees_and_changes_a_webhook(
    ada: Caller, caller: Callable[..., Caller], tree: Tree
) -> None:
    made = ada.tell("/webhooks", body(), 201)
    operator, stranger = caller("op", "operator", tree["web"]), caller("eve", "admin", tree["ops"])
    below = caller("low", "admin", tree["web-run"])
    path = f"/webhooks/{made['id']}"
    for verb, at, sent in [
        ("GET", path, None), ("GET", f"{path}/deliveries", None), ("DELETE", path, None),
        ("PATCH", path, {"enabled": False}), ("POST", f"{path}/replay", {}),
        ("POST", f"{path}/rotate", {}), ("POST", f"{path}/test", {}),
    ]:  # fmt: skip
        assert operator.call(verb, at, sent).status_code == 403
        assert stranger.call(verb, at, sent).status_code == 404
        assert below.call(verb, at, sent).status_code == 404
    operator.tell("/webhooks", body(), 403)
    below.tell("/webhooks", body(), 400)
    for other in (operator, stranger, below):
        assert other.ask("/webhooks")["count"] == 0
    assert caller("boss", "admin", tree["web"]).ask("/webhooks")["count"] == 1


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"url": "http://hooks.example.org"}, "url"),
        ({"url": "ftp://hooks.example.org"}, "url"),
        ({"url": "https://user:pass@hooks.example.org"}, "url"),
        ({"url": "https://hooks.example.org/#part"}, "url"),
        ({"url": "https://hooks.example.org/a b"}, "url"),
        ({"url": "https://hooks.example.org/\r\nX: y"}, "url"),
        ({"url": "https://hooks.example.org:99999"}, "url"),
        ({"url": "https:///path"}, "url"),
        ({"url": "https://bücher.example"}, "url"),
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"url": "https://[::1]/"}, "url"),
        ({"url": "https://169.254.169.254/latest"}, "url"),
        ({"url": "https://" + "x" * 3000}, "url"),
        ({"url": ""}, "url"),
        ({"instance_id": "no-such-one"}, "instance_id"),
        ({"kinds": ["done"]}, "kinds.0"),
        ({"kinds": ["task.done", "task.*.x"]}, "kinds.1"),
        ({"kinds": "task.done"}, "kinds"),
        ({"secret": "mine"}, "secret"),
    ],
)
def test_a_webhook_that_cannot_be_is_refused_naming_the_field(
    ada: Caller, tree: Tree, wrong: dict[str, Any], field: str
) -> None:
    problem = ada.tell("/webhooks", body(**wrong), 400)
    assert [error["field"] for error in problem["errors"]] == [field]
    assert not Webhook.objects.exists()


@pytest.mark.parametrize(
    ("kind", "meant"),
    [
        ("task.dnoe", "task.done"),
        ("tasks.done", "task.done"),
        ("Task.Done", "task.done"),
        ("task.completed", "task.commented"),
        ("delegation.reject", "delegation.rejected"),
        ("tsk.*", "task.*"),
    ],
)
def test_a_mistyped_kind_is_refused_with_the_one_that_was_meant(
    ada: Caller, tree: Tree, kind: str, meant: str
) -> None:
    made = ada.tell("/webhooks", body(kinds=["task.*"]), 201)
    path = f"/webhooks/{made['id']}"
    for problem in (
        ada.tell("/webhooks", body(kinds=[kind]), 400),
        ada.call("PATCH", path, {"kinds": ["instance.*", kind]}).json(),
    ):
        assert kind in problem["detail"]
        assert f"did you mean {meant}" in problem["detail"]
        assert "task.lease_lost" in problem["detail"]
    assert ada.ask(path)["kinds"] == ["task.*"]


def test_the_feed_refuses_a_kind_that_no_event_has(ada: Caller, tree: Tree) -> None:
    assert ada.ask("/events", kind="instance.created")["count"] == len(tree)
    for path in ("/events", "/instances/web/events"):
        problem = ada.call("GET", f"{path}?kind=task.dnoe").json()
        assert [error["field"] for error in problem["errors"]] == ["kind"]
        assert "task.done" in problem["detail"]


def test_an_instance_has_at_most_twenty(ada: Caller, tree: Tree) -> None:
    for _ in range(20):
        ada.tell("/webhooks", body(), 201)
    assert ada.tell("/webhooks", body(), 409)["code"] == "too_many_webhooks"


def test_a_replay_begins_at_an_event_that_there_is(ada: Caller, tree: Tree) -> None:
    TaskFactory(instance=tree["web"])
    made = ada.tell("/webhooks", body(), 201)
    assert made["position"] > 0
    path = f"/webhooks/{made['id']}/replay"
    assert ada.tell(path, {"after": 0})["position"] == 0
    problem = ada.tell(path, {"after": made["position"] + 1}, 400)
    assert str(made["position"]) in problem["errors"][0]["detail"]
    ada.tell(path, {"after": -1}, 400)


def test_the_last_admin_that_changes_a_webhook_owns_it(
    ada: Caller, caller: Callable[..., Caller], tree: Tree
) -> None:
    made = ada.tell("/webhooks", body(), 201)
    boss = caller("boss", "admin", tree["web"])
    changed = boss.call("PATCH", f"/webhooks/{made['id']}", {"description": "ours"}).json()
    assert (made["owner"], changed["owner"]) == ("ada", "boss")
    assert boss.call("DELETE", f"/webhooks/{made['id']}").status_code == 204
    assert not Webhook.objects.exists()
