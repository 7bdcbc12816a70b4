"""An ETag tells the version of a task or an instance; a stale writer changes nothing (If-Match)."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from instances import history
from instances.api import instance_views
from instances.lifecycle.actions import pause_instance, update_instance
from instances.models import HopperInstance, Task
from instances.tasks.worker import claim_next, claim_task, complete_task, heartbeat
from instances.tree.reads import build_tree
from tests.factories import ALICE, InstanceFactory, TaskFactory

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.api.conftest import Caller

Tree = dict[str, "HopperInstance"]
STALE = {"If-Match": '"0123456789abcdef"'}
TASK_CALLS = {
    "status": {"status": "in_progress"},
    "claim": {"worker": "w"},
    "start": {},
    "complete": {},
    "fail": {},
    "release": {},
    "cancel": {},
    "retry": {},
    "discard": {},
    "ask": {"question": "?"},
    "delegate": {"target_instance_id": "web-run"},
    "route": {},
    "decompose": {"children": [{"title": "child"}]},
    "escalate": {},
}
INSTANCE_CALLS = ("start", "stop", "restart", "pause", "resume", "fail", "recover", "close")


@pytest.fixture
def task(tree: Tree) -> Task:
    """A task that waits for a worker."""
    made: Task = TaskFactory(instance=tree["web-run"], title="first")
    return made


def tag_of(ada: Caller, path: str, **headers: str) -> str:
    answer = ada.call("GET", path, **headers)
    assert answer.status_code == 200
    return str(answer.headers["ETag"])


def state_of(pk: str) -> dict[str, Any]:
    return Task.objects.filter(pk=pk).values()[0]


def test_a_change_of_another_version_is_refused_and_of_this_one_made(
    ada: Caller, task: Task
) -> None:
    path = f"/tasks/{task.pk}"
    seen = tag_of(ada, path)
    answer = ada.call("PATCH", path, {"title": "second"}, **{"If-Match": seen})
    assert answer.status_code == 200
    assert answer.headers["ETag"] == tag_of(ada, path) != seen
    body = {"title": "second", "priority": "low", "description": "x" * 5000}
    late = ada.call("PATCH", path, body, **{"If-Match": seen})
    assert (late.status_code, late.json()["code"]) == (412, "version_changed")
    assert late.json()["etag"] == tag_of(ada, path)
    told = {error["field"]: error["detail"] for error in late.json()["errors"]}
    assert told["priority"] == 'stored is "medium", you sent "low"'
    assert set(told) == {"priority", "description"}
    assert len(late.content) < 2000
    assert Task.objects.get(pk=task.pk).priority == "medium"
    for header in ("*", f'"x", {tag_of(ada, path)}', f"W/{tag_of(ada, path)}"):
        good = ada.call("PATCH", path, {"priority": "medium"}, **{"If-Match": header})
        assert good.status_code == 200, header


@pytest.mark.parametrize("header", ["x", '"unfinished', "*, *"])
def test_a_version_that_is_no_tag_is_refused(ada: Caller, task: Task, header: str) -> None:
    for method, name in (("GET", "If-None-Match"), ("PATCH", "If-Match")):
        answer = ada.call(method, f"/tasks/{task.pk}", None, **{name: header})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, name)


@pytest.mark.parametrize("call", TASK_CALLS)
def test_no_call_on_a_task_acts_on_another_version(ada: Caller, task: Task, call: str) -> None:
    before = state_of(task.pk)
    answer = ada.call("POST", f"/tasks/{task.pk}/{call}", TASK_CALLS[call], **STALE)
    assert (answer.status_code, answer.json()["code"]) == (412, "version_changed")
    assert state_of(task.pk) == before


def test_a_task_is_not_deleted_in_another_version(ada: Caller, task: Task) -> None:
    assert ada.call("DELETE", f"/tasks/{task.pk}", **STALE).status_code == 412
    seen = tag_of(ada, f"/tasks/{task.pk}")
    assert ada.call("DELETE", f"/tasks/{task.pk}", **{"If-Match": seen}).status_code == 204


@pytest.mark.parametrize("call", INSTANCE_CALLS)
def test_no_call_on_an_instance_acts_on_another_version(ada: Caller, tree: Tree, call: str) -> None:
    run = InstanceFactory(scope="ORCHESTRATION", parent=tree["web"], instance_type="ephemeral")
    answer = ada.call("POST", f"/instances/{run.pk}/{call}", {}, **STALE)
    assert answer.status_code == 412, answer.json()
    assert HopperInstance.objects.get(pk=run.pk).status == "running"


def test_an_instance_is_edited_and_ended_in_the_version_that_was_read(
    ada: Caller, tree: Tree
) -> None:
    path = "/instances/ops-run"
    seen = tag_of(ada, path)
    for method, body in (("PATCH", {"name": "x"}), ("DELETE", None)):
        assert ada.call(method, path, body, **STALE).status_code == 412
    ada.tell(f"{path}/pause")
    stale = ada.call("PATCH", path, {"description": "x"}, **{"If-Match": seen})
    assert stale.status_code == 412
    now = tag_of(ada, path)
    answer = ada.call("PATCH", path, {"name": "x", "description": "y"}, **{"If-Match": now})
    assert (answer.status_code, answer.json()["description"]) == (200, "y")
    ended = ada.call("DELETE", path, **{"If-Match": answer.headers["ETag"]})
    assert ended.status_code == 204


def test_heartbeats_and_counts_are_no_new_version(ada: Caller, task: Task) -> None:
    run = tag_of(ada, "/instances/web-run")
    lease = claim_task(task.pk, worker="bob", actor=ALICE)
    seen = tag_of(ada, f"/tasks/{task.pk}")
    heartbeat(task.pk, token=lease.token, progress=0.5, checkpoint={"a": 1}, actor=ALICE)
    assert tag_of(ada, f"/tasks/{task.pk}") == seen
    assert tag_of(ada, "/instances/web-run") == run


def test_the_version_is_the_same_compressed(ada: Caller, task: Task) -> None:
    Task.objects.filter(pk=task.pk).update(description="long " * 1000)
    path = f"/tasks/{task.pk}"
    assert tag_of(ada, path) == tag_of(ada, path, **{"Accept-Encoding": "gzip"})


def test_a_known_version_is_not_sent_again(ada: Caller, task: Task) -> None:
    for path in (f"/tasks/{task.pk}", "/instances/web-run"):
        seen = tag_of(ada, path)
        again = ada.call("GET", path, **{"If-None-Match": seen})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", seen)
        ada.call("PATCH", path, {"description": "new"})
        assert ada.call("GET", path, **{"If-None-Match": seen}).status_code == 200


def test_a_condition_that_nothing_honours_is_refused(ada: Caller, tree: Tree) -> None:
    answer = ada.call("POST", "/tasks", {"title": "x"}, **{"If-Match": "*"})
    assert answer.json()["errors"][0]["field"] == "If-Match"
    path = "/instances/web"
    answer = ada.call("PATCH", path, {"description": "x"}, **{"If-Match": "abc"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "If-Match")


def test_a_repeated_key_gets_its_answer_whatever_the_version(ada: Caller, task: Task) -> None:
    headers = {"If-Match": tag_of(ada, f"/tasks/{task.pk}"), "Idempotency-Key": "k"}
    path = f"/tasks/{task.pk}/status"
    first = ada.call("POST", path, {"status": "in_progress"}, **headers)
    again = ada.call("POST", path, {"status": "in_progress"}, **headers)
    assert (first.status_code, again.status_code) == (200, 200)


def test_of_two_writers_at_once_one_wins(caller: Any, task: Task) -> None:
    first = caller("first")
    seen = tag_of(first, f"/tasks/{task.pk}")
    found: list[int] = []

    def write(who: Caller, title: str) -> None:
        body = {"title": title}
        answer = who.call("PATCH", f"/tasks/{task.pk}", body, **{"If-Match": seen})
        found.append(answer.status_code)

    writers = [(first, "a"), (caller("second"), "b"), (caller("third"), "c")]
    threads = [threading.Thread(target=write, args=writer) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [200, 412, 412]


def test_an_unchanged_hierarchy_is_not_sent_again(ada: Caller, tree: Tree) -> None:
    path = "/instances/top/hierarchy"
    tag = tag_of(ada, path)
    assert not tag.startswith("W/")
    assert tag_of(ada, path, **{"Accept-Encoding": "gzip"}) == tag
    again = ada.call("GET", path, **{"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    schema = json.loads(
        ada.call("GET", "/schema", Accept="application/vnd.oai.openapi+json").content
    )
    assert "304" in schema["paths"]["/api/v1/instances/{id}/hierarchy"]["get"]["responses"]
    # One level less is another answer.
    assert tag_of(ada, f"{path}?depth=1") != tag
    TaskFactory(instance=tree["web-run"])
    assert tag_of(ada, path, **{"If-None-Match": tag}) != tag


def test_a_hierarchy_is_made_once_for_each_state_of_the_tree(
    ada: Caller, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, made = "/instances/top/hierarchy", []

    def noted(*args: Any, **options: Any) -> dict[str, Any]:
        made.append(args)
        return build_tree(*args, **options)

    monkeypatch.setattr(instance_views, "build_tree", noted)
    # Another process is giving positions to events at the moment.
    monkeypatch.setattr(history, "stamp", lambda: 0)
    lease: list[Any] = []
    changes: list[Callable[[], object]] = [
        lambda: update_instance(tree["web"].pk, changes={"name": "other"}, actor=ALICE),
        lambda: InstanceFactory(scope="PROJECT", parent=tree["top"]),
        lambda: TaskFactory(instance=tree["web-run"]),
        lambda: lease.extend(claim_next(tree["web-run"].pk, worker="w", actor=ALICE).leases),
        lambda: complete_task(lease[0].task.pk, token=lease[0].token, actor=ALICE),
        lambda: pause_instance(tree["web"].pk, actor=ALICE),
    ]
    seen = {tag_of(ada, path)}
    for change in changes:
        change()
        tags = {tag_of(ada, path) for _ in range(3)}
        assert len(tags) == 1
        assert not tags & seen
        seen |= tags
    assert len(made) == len(seen) == len(changes) + 1
