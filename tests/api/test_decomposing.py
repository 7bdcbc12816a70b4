"""One call makes all children of a task; made again it makes none twice (R13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hopper.actors import Actor
from hopper.errors import NotAllowed
from instances.models import AgentToken, Event, Task
from instances.tasks.creating import NewTask
from instances.tasks.decomposing import create_children

if TYPE_CHECKING:
    from collections.abc import Callable

    from instances.models import HopperInstance
    from tests.api.conftest import Caller

Tree = dict[str, "HopperInstance"]

PLAN = [
    {"key": "test", "title": "Test it", "depends_on": ["build"]},
    {"key": "build", "title": "Build it", "tags": ["x"], "failure_means": "fail_fast"},
]


def _claimed(ada: Caller, place: str = "web-run", **fields: Any) -> tuple[str, str]:
    """Return a task leased at a queue, and the lease's token."""
    ada.tell("/tasks", {"title": "Ship it", "instance_id": place, **fields}, status=201)
    (task,) = ada.tell(f"/instances/{place}/claim", {"worker": "bob"})["tasks"]
    return task["id"], task["lease"]["token"]


def test_a_worker_decomposes_its_task_and_gives_its_lease_back(ada: Caller, tree: Tree) -> None:
    pk, token = _claimed(ada)
    body = {"children": PLAN, "token": token, "failure_policy": "best_effort", "quorum": 2}
    test, build = ada.tell(f"/tasks/{pk}/decompose", body, status=201)
    assert [test["title"], build["title"]] == ["Test it", "Build it"]
    assert (test["key"], test["depends_on"], test["ready"]) == ("test", [build["id"]], False)
    assert (build["parent_id"], build["origin_instance_id"]) == (pk, "web-run")
    assert build["failure_means"] == "fail_fast"
    parent = ada.ask(f"/tasks/{pk}")
    assert (parent["status"], parent["lease_expires_at"]) == ("in_progress", None)
    assert parent["waiting_on"]["code"] == "WaitingChildren"
    assert (parent["failure_policy"], parent["quorum"]) == ("best_effort", 2)
    (attempt,) = ada.ask(f"/tasks/{pk}/attempts")["results"]
    assert attempt["outcome"] == "released"


def test_the_same_call_again_returns_the_same_children(ada: Caller, tree: Tree) -> None:
    pk, token = _claimed(ada)
    body = {"children": PLAN, "token": token}
    first = ada.tell(f"/tasks/{pk}/decompose", body, status=201)
    again = ada.tell(f"/tasks/{pk}/decompose", body, status=200)
    assert [task["id"] for task in again] == [task["id"] for task in first]
    ada.tell(f"/tasks/{pk}/cancel")
    assert len(ada.tell(f"/tasks/{pk}/decompose", body, status=200)) == 2
    assert Task.objects.count() == 3
    assert Event.objects.filter(kind="task.decomposed").count() == 1


def test_more_children_are_added_while_the_parent_is_open_and_none_after(
    ada: Caller, tree: Tree
) -> None:
    pk, token = _claimed(ada)
    _, build = ada.tell(f"/tasks/{pk}/decompose", {"children": PLAN, "token": token}, status=201)
    more = [{"key": "build", "title": "other"}, {"title": "Sign it", "depends_on": ["build"]}]
    known, signed = ada.tell(
        f"/tasks/{pk}/decompose", {"children": more, "token": token}, status=201
    )
    assert (known["id"], known["title"]) == (build["id"], "Build it")
    assert signed["depends_on"] == [build["id"]]
    assert ada.ask(f"/tasks/{pk}")["children"]["total"] == 3
    ada.tell(f"/tasks/{pk}/cancel")
    refusal = ada.tell(f"/tasks/{pk}/decompose", {"children": [{"title": "late"}]}, status=409)
    assert refusal["code"] == "parent_closed"


def test_a_lease_that_is_over_adds_nothing(ada: Caller, tree: Tree) -> None:
    pk, token = _claimed(ada)
    ada.tell(f"/tasks/{pk}/release", {"token": token})
    body = {"children": [{"title": "c"}], "token": token}
    assert ada.tell(f"/tasks/{pk}/decompose", body, status=409)["code"] == "lease_lost"


def test_children_are_placed_as_any_task_their_first_hop_says_decompose(
    ada: Caller, tree: Tree
) -> None:
    parent = ada.tell("/tasks", {"title": "p", "instance_id": "web"}, status=201)
    children = [
        {"title": "routed", "complexity": 5},
        {"title": "named", "instance_id": "web-run"},
        {"title": "stays", "instance_id": "web"},
    ]
    made = ada.tell(f"/tasks/{parent['id']}/decompose", {"children": children}, status=201)
    assert [task["instance_id"] for task in made] == ["web-run", "web-run", "web"]
    assert {task["origin_instance_id"] for task in made} == {"web"}
    for task in made[:2]:
        (hop,) = ada.ask(f"/tasks/{task['id']}/delegations")["delegations"]
        assert (hop["delegation_type"], hop["status"]) == ("decompose", "accepted")


def test_a_target_that_does_not_run_has_an_offer_that_waits(ada: Caller, tree: Tree) -> None:
    parent = ada.tell("/tasks", {"title": "p", "instance_id": "web"}, status=201)
    ada.tell("/instances/web-run/pause")
    body = {"children": [{"title": "c", "instance_id": "web-run"}]}
    (child,) = ada.tell(f"/tasks/{parent['id']}/decompose", body, status=201)
    assert (child["instance_id"], child["offered_to"]) == ("web", "web-run")
    ada.tell("/instances/web-run/resume")
    assert ada.ask(f"/tasks/{child['id']}")["instance_id"] == "web-run"


@pytest.mark.parametrize(
    ("children", "status", "code", "field"),
    [
        ([], 400, "invalid", "children"),
        ([{"title": "c", "unique_key": "k"}], 400, "invalid", "children.0.unique_key"),
        ([{"key": "k", "title": "c"}] * 2, 400, "invalid", "children.1.key"),
        ([{"title": "c", "depends_on": ["task-0"]}], 400, "invalid", "children.0.depends_on.0"),
        ([{"title": "c", "instance_id": "nowhere"}], 400, "invalid", "children.0.instance_id"),
        ([{"title": "a"}, {"title": "b", "instance_id": "ops"}], 422, "not_a_child", None),
        ([{"title": "a"}, {"title": "b", "instance_id": "top"}], 422, "not_a_child", None),
        (
            [
                {"key": "a", "title": "a", "depends_on": ["b"]},
                {"key": "b", "title": "b", "depends_on": ["a"]},
            ],
            422,
            "cycle",
            None,
        ),
    ],
)
def test_a_fault_in_one_child_makes_no_child(
    ada: Caller, tree: Tree, children: list[Any], status: int, code: str, field: str | None
) -> None:
    parent = ada.tell("/tasks", {"title": "p", "instance_id": "web"}, status=201)
    refusal = ada.tell(f"/tasks/{parent['id']}/decompose", {"children": children}, status=status)
    assert refusal["code"] == code
    if field:
        assert [error["field"] for error in refusal["errors"]] == [field]
    assert Task.objects.count() == 1
    assert ada.ask(f"/tasks/{parent['id']}")["status"] == "pending"


def test_a_child_cannot_wait_for_its_parent(ada: Caller, tree: Tree) -> None:
    parent = ada.tell("/tasks", {"title": "p", "instance_id": "web"}, status=201)
    body = {"children": [{"title": "c", "depends_on": [parent["id"]]}]}
    assert ada.tell(f"/tasks/{parent['id']}/decompose", body, status=422)["code"] == "cycle"


def test_tasks_are_decomposed_at_most_five_levels_deep(ada: Caller, tree: Tree) -> None:
    task = ada.tell("/tasks", {"title": "1", "instance_id": "web-run"}, status=201)
    for level in range(2, 6):
        body = {"children": [{"title": str(level)}]}
        (task,) = ada.tell(f"/tasks/{task['id']}/decompose", body, status=201)
    refusal = ada.tell(f"/tasks/{task['id']}/decompose", body, status=422)
    assert refusal["code"] == "too_deep"


def test_the_holder_decomposes_with_the_lease_or_over_it_as_an_operator(
    ada: Caller, tree: Tree, caller: Callable[..., Caller]
) -> None:
    pk, token = _claimed(ada)
    body = {"children": [{"key": "a", "title": "a"}]}
    worker = caller("wes", "worker", tree["web-run"])
    stranger = caller("sid", "worker", tree["ops-run"])
    assert worker.tell(f"/tasks/{pk}/decompose", body, status=403)["code"] == "not_allowed"
    stranger.tell(f"/tasks/{pk}/decompose", body, status=404)
    worker.tell(f"/tasks/{pk}/decompose", {**body, "token": "1.wrong"}, status=409)
    worker.tell(f"/tasks/{pk}/decompose", {**body, "token": token}, status=201)
    other, _ = _claimed(ada)
    caller("oda", "operator", tree["web"]).tell(f"/tasks/{other}/decompose", body, status=201)
    assert ada.ask(f"/tasks/{other}")["lease_expires_at"] is None


@pytest.mark.parametrize("call", ["/tasks", "/tasks/bulk"])
def test_a_child_ends_no_lease_over_its_workers_head(
    ada: Caller, tree: Tree, caller: Callable[..., Caller], call: str
) -> None:
    wes, eve = (caller(name, "worker", tree["web-run"]) for name in ("wes", "eve"))
    pk, token = _claimed(wes)
    child: Any = {"title": "c", "parent_id": pk}
    child = [{"title": "alone"}, child] if call == "/tasks/bulk" else child
    assert eve.tell(call, child, status=403)["code"] == "not_allowed"
    assert not Task.objects.exclude(pk=pk).exists()
    wes.tell(f"/tasks/{pk}/heartbeat", {"token": token})
    wes.tell(call, child, status=201)
    eve.tell(call, child, status=201)
    other, _ = _claimed(wes)
    caller("oda", "operator", tree["web"]).tell(
        "/tasks", {"title": "c", "parent_id": other}, status=201
    )
    assert ada.ask(f"/tasks/{other}")["lease_expires_at"] is None


def test_a_task_claimed_meanwhile_is_not_decomposed_over_its_workers_head(
    tree: Tree, caller: Callable[..., Caller]
) -> None:
    pk, _ = _claimed(caller("wes", "worker", tree["web-run"]))
    eve = Actor("eve", {"web-run": "worker"})
    with pytest.raises(NotAllowed):
        create_children(pk, [NewTask("c")], terms={}, actor=eve)
    assert Task.objects.get(pk=pk).has_live_lease


def test_an_unassigned_task_has_unassigned_children(ada: Caller, tree: Tree) -> None:
    parent = ada.tell("/tasks", {"title": "p"}, status=201)
    body = {"children": [{"title": "c"}], "completion": "resume"}
    (child,) = ada.tell(f"/tasks/{parent['id']}/decompose", body, status=201)
    assert child["waiting_on"]["code"] == "Unassigned"
    ada.tell(f"/tasks/{child['id']}/status", {"status": "done"})
    assert ada.ask(f"/tasks/{parent['id']}")["status"] == "pending"


def test_children_of_an_unassigned_task_are_sent_where_the_caller_is_an_operator(
    ada: Caller, tree: Tree, caller: Callable[..., Caller]
) -> None:
    wes = caller("wes", "worker", tree["ops-run"])
    parent = wes.tell("/tasks", {"title": "p"}, status=201)
    body = {"children": [{"title": "c", "instance_id": "web"}]}
    call = f"/tasks/{parent['id']}/decompose"
    wes.tell(call, body, status=400)
    token = AgentToken.objects.filter(name="wes")
    token.update(role="viewer", instance=tree["web"])
    wes.tell(call, body, status=403)
    token.update(role="operator")
    (child,) = wes.tell(call, body, status=201)
    assert (child["instance_id"], child["origin_instance_id"]) == ("web", "web")


def test_the_history_of_a_child_says_from_whom_it_was_cut_loose(ada: Caller, tree: Tree) -> None:
    parent = ada.tell("/tasks", {"title": "p", "instance_id": "web-run"}, status=201)
    body = {"children": [{"title": "c", "on_parent_close": "abandon"}]}
    (child,) = ada.tell(f"/tasks/{parent['id']}/decompose", body, status=201)
    ada.tell(f"/tasks/{parent['id']}/cancel")
    loose = ada.ask(f"/tasks/{child['id']}")
    assert (loose["status"], loose["parent_id"], loose["root_id"]) == ("pending", None, child["id"])
    *_, told = ada.ask(f"/tasks/{child['id']}/events")["results"]
    assert (told["kind"], told["data"]["was"]) == ("task.cut_loose", parent["id"])


def test_children_are_claimed_in_the_order_of_the_call(ada: Caller, tree: Tree) -> None:
    pk, token = _claimed(ada)
    body = {
        "children": [
            {"key": "second", "title": "Waits for the last", "depends_on": ["first"]},
            *({"title": f"child {n}"} for n in range(9)),
            {"key": "first", "title": "Comes last in the call", "priority": "urgent"},
        ],
        "token": token,
    }
    made = ada.tell(f"/tasks/{pk}/decompose", body, status=201)
    *others, last = [task["id"] for task in made]
    (task,) = ada.tell("/instances/web-run/claim", {"worker": "bob"})["tasks"]
    assert task["id"] == last
    ada.tell(f"/tasks/{last}/complete", {"token": task["lease"]["token"]})
    claimed = ada.tell("/instances/web-run/claim", {"worker": "bob", "limit": 10})["tasks"]
    assert [task["id"] for task in claimed] == others


def test_tasks_of_one_call_are_claimed_in_its_order(ada: Caller, tree: Tree) -> None:
    rows = [{"title": f"task {n}", "instance_id": "web-run"} for n in range(10)]
    made = ada.tell("/tasks/bulk", rows, status=201)
    claimed = ada.tell("/instances/web-run/claim", {"worker": "bob", "limit": 10})["tasks"]
    assert [task["id"] for task in claimed] == [task["id"] for task in made]
