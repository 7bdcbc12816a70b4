"""All 64 pairs of the table of R2, and every pair of scopes of R1, over HTTP."""

from __future__ import annotations

import pytest

from hopper.protocol import INSTANCE, PARENTS, ROOTS
from instances.choices import HopperScope, InstanceStatus
from instances.lifecycle.actions import set_instance_status
from instances.models import Event, HopperInstance
from tests.api.conftest import Caller
from tests.factories import ALICE, InstanceFactory

pytestmark = pytest.mark.unmeasured

WAYS: dict[str, list[str]] = {
    "created": [],
    "starting": ["starting"],
    "running": ["starting", "running"],
    "paused": ["starting", "running", "paused"],
    "stopping": ["starting", "stopping"],
    "stopped": ["starting", "stopping", "stopped"],
    "error": ["error"],
    "terminated": ["terminated"],
}
ACTIONS = {
    "start": ({"created", "stopped", "error", "starting"}, "running"),
    "stop": ({"starting", "running", "paused", "error"}, "stopped"),
    "pause": ({"running"}, "paused"),
    "resume": ({"paused"}, "running"),
    "fail": (set(WAYS) - {"terminated"}, "error"),
    "recover": ({"error"}, "running"),
}
# Where asking is no change, because it is so already.
THERE = {
    "start": {"running"},
    "stop": {"stopped"},
    "pause": {"paused"},
    "resume": {"running"},
    "recover": {"running"},
}


def instance_in(status: str) -> HopperInstance:
    """Return a project in that state, brought there edge by edge."""
    made = InstanceFactory(scope="PROJECT", running=False)
    for step in WAYS[status]:
        set_instance_status(made.pk, status=step, actor=ALICE)
    found = HopperInstance.objects.get(pk=made.pk)
    assert found.status == status
    return found


@pytest.mark.parametrize("target", InstanceStatus.values)
@pytest.mark.parametrize("state", InstanceStatus.values)
def test_put_takes_exactly_the_edges_of_the_table(ada: Caller, state: str, target: str) -> None:
    instance = instance_in(state)
    before = Event.objects.count()
    answer = ada.call("PUT", f"/instances/{instance.pk}", {"status": target})
    now = HopperInstance.objects.get(pk=instance.pk).status
    if state == target:
        assert (answer.status_code, now, Event.objects.count()) == (200, state, before)
    elif INSTANCE.permits(state, target):
        assert answer.status_code == 200, answer.content
        assert answer.json()["status"] == now == target
    else:
        body = answer.json()
        assert (answer.status_code, now, Event.objects.count()) == (409, state, before)
        assert (body["state"], body["requested"]) == (state, target)
        assert body["allowed"] == INSTANCE.allowed(state)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("state", InstanceStatus.values)
def test_an_action_works_from_its_states_and_else_says_what_is_allowed(
    ada: Caller, state: str, action: str
) -> None:
    instance = instance_in(state)
    legal, end = ACTIONS[action]
    answer = ada.call("POST", f"/instances/{instance.pk}/{action}")
    if state in legal:
        assert answer.status_code == 200, answer.content
        assert answer.json()["status"] == end
    elif state in THERE.get(action, ()):
        assert (answer.status_code, answer.json()["status"]) == (200, state)
    elif (action, state) == ("stop", "stopping"):
        assert answer.status_code == 200
    else:
        assert answer.status_code == 409, answer.content
        assert answer.json()["state"] == state
        assert answer.json()["allowed"] == INSTANCE.allowed(state)


def test_terminated_is_final_and_readable_and_ending_again_is_no_change(
    ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    refused = ada.call("DELETE", "/instances/web")
    assert refused.status_code == 409
    assert refused.json()["live_children"] == 1
    assert ada.call("DELETE", "/instances/web?preview=true").json()["live_children"] == 1
    for _ in range(2):
        assert ada.call("DELETE", "/instances/web?cascade=true").status_code == 204
    assert ada.ask("/instances/web")["status"] == "terminated"
    assert ada.ask("/instances/web-run")["status"] == "terminated"
    listed = {row["id"] for row in ada.ask("/instances")["results"]}
    assert "web" not in listed
    assert ada.ask("/instances", status="terminated")["count"] == 2
    assert ada.tell("/instances", {"name": "new", "scope": "PROJECT", "id": "web"}, 409)


@pytest.mark.parametrize("child", HopperScope.values)
@pytest.mark.parametrize("parent", [None, *HopperScope.values])
def test_legal_parents_of_each_scope(ada: Caller, parent: str | None, child: str) -> None:
    above = _instance_of(parent) if parent else None
    body = {"name": "child", "scope": child, "parent_id": above.pk if above else None}
    if child == "EVENT":
        body["expires_at"] = "2030-01-01T00:00:00Z"
    answer = ada.call("POST", "/instances", body)
    legal = child in ROOTS if parent is None else parent in PARENTS[child]
    assert answer.status_code == (201 if legal else 422), answer.content
    if not legal:
        assert answer.json()["allowed"] == sorted(PARENTS[child])


def _instance_of(scope: str) -> HopperInstance:
    way = {
        "EVENT": ["GLOBAL", "EVENT"],
        "FEDERATED": ["GLOBAL", "FEDERATED"],
        "ORCHESTRATION": ["PROJECT", "ORCHESTRATION"],
    }.get(scope, [scope])
    made: HopperInstance | None = None
    for place, step in enumerate(way):
        more = {"expires_at": "2030-01-01T00:00:00Z"} if step == "EVENT" else {}
        made = InstanceFactory(scope=step, parent=made, name=f"p{place}", **more)
    assert made is not None
    return made
