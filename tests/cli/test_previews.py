"""A preview prints the effects of a command and asks nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.fakes import FakeTransport, ok

PREVIEW: dict[str, Any] = {
    "instance_id": "web",
    "live_children": 1,
    "unfinished_tasks": 2,
    "live_leases": 1,
    "refused": None,
    "counts": {
        "instances": {"effectively_stopped": 1, "stopped": 1},
        "tasks": {"due": 1, "lease_revoked": 1, "moved": 1, "put_back": 1, "waits": 1},
        "delegations": {},
        "attempts": {"evicted": 1},
        "waiting_on": {"HolderStopped": 1},
    },
    "instances": [
        {"id": "web", "before": {"status": "running"}, "after": {"status": "stopped"}},
        {
            "id": "web-run",
            "before": {"effective_status": "running"},
            "after": {"effective_status": "stopped"},
        },
    ],
    "tasks": [
        {
            "id": "task-1",
            "title": "Fix [it]",
            "what": ["put_back", "lease_revoked", "waits"],
            "before": {"status": "claimed", "waiting_on": "InProgress"},
            "after": {"status": "pending", "waiting_on": "HolderStopped"},
        },
        {
            "id": "task-2",
            "title": "Move",
            "what": ["moved", "due"],
            "before": {"instance_id": "web"},
            "after": {"instance_id": "top"},
        },
    ],
    "hidden": 1,
}
TOLD = """\
web, nothing changed yet:
  now below it: live instances 1, unfinished tasks 2, live leases 1
  instances: 1 effectively stopped, 1 stopped
  tasks: 1 to be placed, 1 lease revoked, 1 moved, 1 put back, 1 waits
  attempts: 1 evicted
  waiting then: 1 HolderStopped
  web: running → stopped
  web-run: effectively running → stopped
  task-1  put back, lease revoked, waits (HolderStopped)  Fix [it]
  task-2  moved to top, to be placed  Move
  and 1 more that you may not see
"""

POSTED = [
    (["instance", "stop", "web", "--force"], "/instances/web/stop", {"force": True}),
    (["run", "close", "web", "--force"], "/instances/web/close", {"force": True}),
    (["task", "cancel", "web", "--reason", "no"], "/tasks/web/cancel", {"reason": "no"}),
]
DELETED = [
    (["instance", "delete", "web", "--cascade"], "/instances/web", {"cascade": True}),
    (["task", "delete", "web"], "/tasks/web", {}),
]


@pytest.mark.parametrize(("words", "path", "sent"), POSTED)
def test_a_preview_of_a_post_is_asked_for_and_shown(
    hopper: Callable, server: FakeTransport, words: list[str], path: str, sent: dict[str, Any]
) -> None:
    server.answers[f"POST {path}"] = ok(PREVIEW)
    assert hopper(*words, "--preview").out == TOLD
    assert server.calls[-1].body == {**sent, "preview": True}


@pytest.mark.parametrize(("words", "path", "sent"), DELETED)
def test_a_preview_of_a_delete_is_asked_for_and_shown(
    hopper: Callable, server: FakeTransport, words: list[str], path: str, sent: dict[str, Any]
) -> None:
    server.answers[f"DELETE {path}"] = ok(PREVIEW)
    assert hopper(*words, "--preview").out == TOLD
    assert server.calls[-1].params == {**sent, "preview": True}


def test_json_is_the_answer_itself(hopper: Callable, server: FakeTransport) -> None:
    server.answers["DELETE /tasks/task-1"] = ok(PREVIEW)
    assert json.loads(hopper("--json", "task", "delete", "task-1", "--preview").out) == PREVIEW


def test_a_preview_shows_a_refusal_and_an_empty_change(
    hopper: Callable, server: FakeTransport
) -> None:
    refused = {"code": "not_empty", "detail": "web is not empty."}
    server.answers["DELETE /instances/web"] = ok({**PREVIEW, "refused": refused})
    out = hopper("instance", "delete", "web", "--preview").out
    assert out.splitlines()[-1] == "  it would be refused: web is not empty."
    server.answers["POST /tasks/task-1/cancel"] = ok({"task_id": "task-1", "hidden": 0})
    out = hopper("task", "cancel", "task-1", "--preview").out
    assert out == "task-1, nothing changed yet:\n  it would change nothing\n"
