"""The whole way over HTTP, as a client with a token sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth import get_user_model
from rest_framework.test import APIClient

from instances.models import AgentToken
from tests.soundness import unsound

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db(transaction=True)


class Client:
    """A client with a token; answers are checked for their status and returned as JSON."""

    def __init__(self) -> None:
        user = get_user_model().objects.create_user("alice")
        _, token = AgentToken.objects.create(user=user, name="alice", role="admin")
        self.http = APIClient(HTTP_AUTHORIZATION=f"Bearer {token}")

    def __call__(self, method: str, path: str, body: Any = None, *, expect: int = 200) -> Any:
        """Send, and return the JSON answered."""
        answer = getattr(self.http, method)(f"/api/v1{path}", body, format="json")
        assert answer.status_code == expect, answer.content.decode()[:2000]
        return answer.json() if answer.content else None


@pytest.fixture
def call() -> Iterator[Client]:
    """A client; the invariants hold when it has done."""
    yield Client()
    assert unsound() == []


def _hierarchy(call: Client) -> dict[str, str]:
    def make(name: str, scope: str, parent: str | None, **config: Any) -> str:
        body = {"name": name, "scope": scope, "parent_id": parent, "config": config}
        pk = str(call("post", "/instances", body, expect=201)["id"])
        assert call("post", f"/instances/{pk}/start")["status"] == "running"
        return pk

    top = make("hopper-global", "GLOBAL", None)
    web = make("web", "PROJECT", top, capabilities=["frontend"])
    ops = make("ops", "PROJECT", top, capabilities=["deploy"])
    return {
        "top": top,
        "web": web,
        "ops": ops,
        "web-run": make("web-run", "ORCHESTRATION", web),
        "ops-run": make("ops-run", "ORCHESTRATION", ops),
    }


def test_created_at_the_top_it_is_held_by_the_right_orchestration_and_bubbles_up(
    call: Client,
) -> None:
    at = _hierarchy(call)
    task = call(
        "post",
        "/tasks",
        {"title": "New page", "instance_id": at["top"], "tags": ["frontend"], "complexity": 4},
        expect=201,
    )
    assert task["instance_id"] == at["web-run"]
    assert task["waiting_on"]["code"] == "ReadyForWorker"

    claim = call("post", f"/instances/{at['web-run']}/claim", {"worker": "bob"})
    lease = claim["tasks"][0]["lease"]
    assert claim["tasks"][0]["id"] == task["id"]
    url = f"/tasks/{task['id']}"
    call("post", f"{url}/heartbeat", {"token": lease["token"], "progress": 0.5})
    done = call("post", f"{url}/complete", {"token": lease["token"], "result": {"ok": 1}})
    assert (done["status"], done["result"]) == ("done", {"ok": 1})

    chain = call("get", f"{url}/delegations")
    ends = (chain["origin_instance_id"], chain["current_instance_id"])
    assert ends == (at["top"], at["web-run"])
    targets = [hop["target_instance_id"] for hop in chain["delegations"]]
    assert targets == [at["web"], at["web-run"]]
    assert {(hop["status"], hop["result"]["ok"]) for hop in chain["delegations"]} == {
        ("completed", 1)
    }
    for place in ("top", "web", "web-run"):
        feed = call("get", f"/instances/{at[place]}/events?kind=task.done")
        assert feed["count"] == 1
    assert call("get", f"/instances/{at['ops']}/events?kind=task.done")["count"] == 0

    again = call("post", f"{url}/complete", {"token": lease["token"], "result": {"ok": 1}})
    assert again["result"] == {"ok": 1}
    assert call("get", f"/instances/{at['top']}/events?kind=task.done")["count"] == 1


def test_an_explicit_offer_waits_is_refused_and_the_next_candidate_is_asked(
    call: Client,
) -> None:
    at = _hierarchy(call)
    task = call("post", "/tasks", {"title": "x", "instance_id": at["top"]}, expect=201)
    assert task["waiting_on"]["code"] == "AwaitingTriage"
    url = f"/tasks/{task['id']}"
    body = {"target_instance_id": at["web"]}
    offer = call("post", f"{url}/delegate", body, expect=201)
    assert offer["status"] == "pending"
    shown = call("get", url)
    assert (shown["instance_id"], shown["offered_to"]) == (at["top"], at["web"])
    assert shown["waiting_on"]["code"] == "AwaitingAcceptance"
    assert call("post", f"{url}/delegate", body)["id"] == offer["id"]
    refused = call("post", f"{url}/delegate", {"target_instance_id": at["ops"]}, expect=409)
    assert refused["offered_to"] == at["web"]
    call("post", f"/delegations/{offer['id']}/reject", {"reason": "not ours"})
    assert call("get", url)["instance_id"] == at["top"]
    call("post", f"/delegations/{offer['id']}/accept", expect=409)


def test_a_client_walks_by_hand_although_routing_was_faster(call: Client) -> None:
    at = _hierarchy(call)
    task = call(
        "post",
        "/tasks",
        {"title": "x", "instance_id": at["top"], "tags": ["deploy"], "complexity": 5},
        expect=201,
    )
    assert task["instance_id"] == at["ops-run"]
    for target in (at["ops"], at["ops-run"]):
        row = call("post", f"/tasks/{task['id']}/delegate", {"target_instance_id": target})
        assert call("post", f"/delegations/{row['id']}/accept")["status"] == "accepted"


def test_a_client_walks_from_hand_to_hand(call: Client) -> None:
    at = _hierarchy(call)
    task = call("post", "/tasks", {"title": "x", "instance_id": at["top"]}, expect=201)
    for target in (at["web"], at["web-run"]):
        url = f"/tasks/{task['id']}/delegate"
        row = call("post", url, {"target_instance_id": target}, expect=201)
        call("post", f"/delegations/{row['id']}/accept")
        assert call("get", f"/tasks/{task['id']}")["instance_id"] == target
    last = call("get", f"/tasks/{task['id']}/delegations")["delegations"][-1]
    done = call("post", f"/delegations/{last['id']}/complete", {"result": "by hand"})
    assert done["status"] == "completed"
    assert call("get", f"/tasks/{task['id']}")["status"] == "done"


def test_a_refusal_of_a_wrong_target_names_the_next_hop(call: Client) -> None:
    at = _hierarchy(call)
    task = call("post", "/tasks", {"title": "x", "instance_id": at["top"]}, expect=201)
    url = f"/tasks/{task['id']}/delegate"
    refused = call("post", url, {"target_instance_id": at["web-run"]}, expect=422)
    assert refused["next_hop"] == at["web"]


def test_terminate_with_cascade_loses_no_task(call: Client) -> None:
    at = _hierarchy(call)
    body = {"title": "x", "instance_id": at["top"], "tags": ["deploy"], "complexity": 5}
    ids = [call("post", "/tasks", body, expect=201)["id"] for _ in range(5)]
    refused = call("delete", f"/instances/{at['ops']}", expect=409)
    assert (refused["live_children"], refused["unfinished_tasks"]) == (1, 5)
    call("delete", f"/instances/{at['ops']}?cascade=true", expect=204)
    call("delete", f"/instances/{at['ops']}", expect=204)
    for pk in ids:
        assert call("get", f"/tasks/{pk}")["instance_id"] == at["top"]
