"""Each body is judged by itself: nothing of the body before is left."""

from __future__ import annotations

from instances.models import HopperInstance
from tests.api.conftest import Caller


def test_a_refused_body_leaves_nothing_to_the_next(
    ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    body = {"title": "first", "instance_id": tree["web"].pk}
    refused = ada.tell("/tasks", {**body, "title": "", "colour": "red"}, 400)
    assert {error["field"] for error in refused["errors"]} == {"colour"}
    refused = ada.tell("/tasks", {**body, "title": ""}, 400)
    assert {error["field"] for error in refused["errors"]} == {"title"}
    assert ada.tell("/tasks", {**body, "tags": ["red"]}, 201)["tags"] == ["red"]
    assert ada.tell("/tasks", {**body, "title": "second"}, 201)["tags"] == []


def test_each_edit_is_compared_with_its_own_task(
    ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    ids = [
        ada.tell("/tasks", {"title": "t", "instance_id": tree[name].pk}, 201)["id"]
        for name in ("web", "ops")
    ]
    for task_id, name in zip(ids, ("web", "ops"), strict=True):
        same = {"title": "u", "instance_id": tree[name].pk}
        assert ada.call("PUT", f"/tasks/{task_id}", same).status_code == 200
        other = {"title": "u", "instance_id": tree["top"].pk}
        assert ada.call("PUT", f"/tasks/{task_id}", other).status_code == 400
