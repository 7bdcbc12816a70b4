"""The other commands of `task`."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.cli.fakes import FakeTransport, ok, page, problem, task

BRIEF = "# Brief\n\n[x] not markup\n" + "one very long line " * 30 + "\n\n- [ ] done\n"


def test_get_shows_the_description_verbatim(hopper: Callable, server: FakeTransport) -> None:
    server.answers["GET /tasks/task-1"] = ok(task("task-1", description=BRIEF))
    out = hopper("task", "get", "task-1").out
    assert out.endswith("\n\n" + BRIEF)
    assert "Title: Write the tests" in out


def test_get_adds_the_lessons_that_apply(hopper: Callable, server: FakeTransport) -> None:
    server.answers["GET /tasks/task-1"] = ok(task("task-1", project="sark", tags=["czarina"]))
    lesson = {
        "id": "lesson-1",
        "title": "Lock first",
        "description": "Or else.",
        "confidence": "high",
    }
    server.answers["GET /lessons"] = page(lesson)
    out = hopper("task", "get", "task-1", "--with-lessons").out
    assert out.count("### Lock first (high confidence)\n\nOr else.\n") == 1
    assert [call.params.get("applies_to") for call in server.calls[1:]] == ["task-1"]


def test_get_does_without_lessons_where_there_are_none(
    hopper: Callable, server: FakeTransport
) -> None:
    server.answers["GET /tasks/task-1"] = ok(task("task-1", tags=["czarina"]))
    outcome = hopper("--json", "task", "get", "task-1", "--with-lessons")
    assert json.loads(outcome.out)["lessons"] == []


@pytest.mark.parametrize(
    ("word", "sent"),
    [("open", "pending"), ("completed", "done"), ("done", "done"), ("BLOCKED", "blocked")],
)
def test_status_is_sent_in_the_servers_words(
    hopper: Callable, server: FakeTransport, word: str, sent: str
) -> None:
    server.answers["POST /tasks/task-1/status"] = ok(task("task-1", status=sent))
    outcome = hopper("task", "status", "task-1", word, "--force", "--reason", "so")
    said = {"pending": "open", "done": "completed"}.get(sent, sent)
    assert outcome.out == f"✓ Changed status to: {said}\n"
    assert server.calls[-1].body == {"status": sent, "reason": "so", "force": True}


def test_in_progress_names_the_worker(hopper: Callable, server: FakeTransport) -> None:
    server.answers["POST /tasks/task-1/status"] = ok(task("task-1", status="in_progress"))
    hopper("task", "status", "task-1", "in_progress", "--worker", "w1")
    assert server.calls[-1].body == {"status": "in_progress", "owner": "w1"}
    hopper("task", "status", "task-1", "in_progress")
    assert server.calls[-1].body["owner"]


def test_a_conflict_names_the_state_and_the_allowed_ones(
    hopper: Callable, server: FakeTransport
) -> None:
    server.answers["POST /tasks/task-1/status"] = problem(
        409, "invalid_transition", "done cannot become blocked.", state="done", allowed=["pending"]
    )
    outcome = hopper("task", "status", "task-1", "blocked")
    assert outcome.code == 1
    assert outcome.err == "Error: done cannot become blocked.\n  state: done\n  allowed: pending\n"


def test_one_wrong_field_is_named_once(hopper: Callable, server: FakeTransport) -> None:
    server.answers["POST /tasks"] = problem(
        400,
        "invalid",
        "title: This field may not be blank.",
        errors=[{"field": "title", "code": "blank", "detail": "This field may not be blank."}],
    )
    outcome = hopper("task", "add", "")
    assert outcome.err == "Error: title: This field may not be blank.\n"


def test_a_failure_is_reported_and_not_set(hopper: Callable, server: FakeTransport) -> None:
    outcome = hopper("task", "status", "task-1", "failed")
    assert outcome.code == 2
    assert "hopper task fail" in outcome.err
    assert server.calls == []


def test_update_adds_and_removes_tags(hopper: Callable, server: FakeTransport) -> None:
    server.answers["GET /tasks/task-1"] = ok(task("task-1", tags=["a", "b"]))
    server.answers["PATCH /tasks/task-1"] = ok(task("task-1"))
    outcome = hopper(
        "task", "update", "task-1", "--add-tag", "c", "--remove-tag", "a", "--title", "T"
    )
    assert outcome.out == "✓ Updated task: task-1\n"
    assert server.calls[-1].body == {"title": "T", "tags": ["b", "c"]}


def test_update_with_nothing_to_change_is_wrong_usage(hopper: Callable) -> None:
    assert hopper("task", "update", "task-1").code == 2


def test_delete_names_the_cancelled_task(hopper: Callable, server: FakeTransport) -> None:
    server.answers["DELETE /tasks/task-1"] = ok(None, 204)
    assert hopper("task", "delete", "task-1").out == "✓ Deleted task: task-1\n"


def test_search_asks_for_text(hopper: Callable, server: FakeTransport) -> None:
    server.answers["GET /tasks/search"] = page(task("task-1"))
    assert hopper("--quiet", "task", "search", "needle").out == "task-1\n"
    assert server.calls[-1].params["q"] == "needle"


@pytest.mark.parametrize("id", ["", "..", "."])
def test_a_path_cannot_be_climbed_by_an_id(
    hopper: Callable, server: FakeTransport, id: str
) -> None:
    outcome = hopper("task", "get", id)
    assert (outcome.code, server.calls) == (1, [])


def test_an_id_is_quoted_whole(hopper: Callable, server: FakeTransport) -> None:
    hopper("task", "get", "a/../b?c=d")
    assert server.calls[-1].path == "/tasks/a%2F..%2Fb%3Fc%3Dd"


@pytest.mark.parametrize(
    ("line", "path", "body"),
    [
        ("retry task-1", "retry", {}),
        ("cancel task-1 --reason old", "cancel", {"reason": "old"}),
        ("release task-1 --worker w --lease-token t", "release", {"worker": "w", "token": "t"}),
        ("claim task-1 --worker w --lease 60", "claim", {"worker": "w", "lease_seconds": 60}),
        ("complete task-1 --worker w --result {}", "complete", {"worker": "w", "result": {}}),
        (
            "fail task-1 --worker w --error bad --no-retry",
            "fail",
            {"worker": "w", "error": "bad", "retryable": False},
        ),
        (
            "heartbeat task-1 --worker w --progress 0.5",
            "heartbeat",
            {"worker": "w", "progress": 0.5},
        ),
        (
            "escalate task-1 --worker w --reason stuck --severity high",
            "escalate",
            {"worker": "w", "reason": "stuck", "severity": "high"},
        ),
    ],
)
def test_each_call_of_a_worker_sends_its_body(
    hopper: Callable, server: FakeTransport, line: str, path: str, body: dict[str, object]
) -> None:
    server.answers[f"POST /tasks/task-1/{path}"] = ok(task("task-1"))
    assert hopper("task", *line.split()).code == 0
    assert server.calls[-1].body == body


def test_claim_takes_the_next_of_an_instance(hopper: Callable, server: FakeTransport) -> None:
    lease = {"token": "1-abc", "expires_at": "2026-11-23T10:05:00Z", "attempt": 1}
    server.answers["POST /instances/run/claim"] = ok(
        {"tasks": [task("task-1", status="claimed", lease=lease)], "waiting": None}
    )
    out = hopper("task", "claim", "--instance", "run").out
    assert "✓ Claimed task: task-1" in out
    assert "1-abc" in out
    server.answers["POST /instances/run/claim"] = ok(
        {"tasks": [], "waiting": {"code": "AtCapacity"}}
    )
    assert "AtCapacity" in hopper("task", "claim", "--instance", "run").out
    assert hopper("task", "claim").code == 2


def test_why_gives_the_reason_in_words(hopper: Callable, server: FakeTransport) -> None:
    reason = {"code": "AtCapacity", "detail": "3 of 3", "object": "run", "who": None}
    server.answers["GET /tasks/task-1/why"] = ok(
        {"task_id": "task-1", "status": "pending", "words": "run is full.", "waiting_on": reason}
    )
    assert hopper("task", "why", "task-1").out == (
        "run is full.\nStatus: open\nCode: AtCapacity\nDetail: 3 of 3\nObject: run\n"
    )


def test_the_list_can_be_asked_for_one_reason(hopper: Callable, server: FakeTransport) -> None:
    server.answers["GET /tasks"] = page()
    assert hopper("task", "list", "--waiting", "HolderPaused").out == "No tasks.\n"
    assert server.calls[-1].params["waiting_code"] == "HolderPaused"


def test_events_are_one_line_each(hopper: Callable, server: FakeTransport) -> None:
    event = {"id": 1, "at": "10:00", "kind": "task.claimed", "before": "pending"}
    server.answers["GET /tasks/task-1/events"] = page(
        {**event, "status": "claimed", "actor": "alice", "instance_id": "run", "data": {"a": 1}}
    )
    assert hopper("task", "events", "task-1").out == (
        "10:00  task.claimed  pending > claimed  at run  by alice  a 1\n"
    )


NEXT = {**task("task-2"), "lease": {"token": "1.next", "seconds": 300, "expires_at": "soon"}}


def test_complete_with_next_takes_the_next_task_in_one_call(
    hopper: Callable, server: FakeTransport
) -> None:
    verdict = {"id": "task-1", "status": "done", "problem": None}
    server.answers["POST /instances/run/next"] = ok({"completed": [verdict], "tasks": [NEXT]})
    outcome = hopper(
        *("task", "complete", "task-1", "--result", "7", "--lease-token", "1.a"),
        *("--worker", "w", "--next", "run"),
    )
    assert outcome.out.splitlines()[:2] == [
        "✓ Changed status to: completed",
        "✓ Claimed task: task-2",
    ]
    report = {"id": "task-1", "token": "1.a", "result": 7}
    assert server.calls[-1].body == {"worker": "w", "completed": [report]}
    # The session keeps the new lease.
    server.answers["POST /tasks/task-2/complete"] = ok(task("task-2"))
    hopper("task", "complete", "task-2", "--worker", "w")
    assert server.calls[-1].body["token"] == "1.next"


def test_a_refused_report_is_shown_with_the_claimed_task(
    hopper: Callable, server: FakeTransport
) -> None:
    problem = {"status": 409, "code": "lease_lost", "detail": "This lease is over."}
    verdict = {"id": "task-1", "status": "claimed", "problem": problem}
    server.answers["POST /instances/run/next"] = ok({"completed": [verdict], "tasks": [NEXT]})
    outcome = hopper("task", "complete", "task-1", "--next", "run")
    assert outcome.code == 1
    assert "This lease is over." in outcome.err
    assert "The next task is claimed all the same: task-2." in outcome.err


def test_a_claim_waits_for_a_task(hopper: Callable, server: FakeTransport) -> None:
    none = ok({"tasks": [], "waiting": {"code": "Empty", "detail": "the queue is empty"}})
    server.answers["POST /instances/run/claim"] = [none, ok({"tasks": [NEXT], "waiting": None})]
    outcome = hopper("task", "claim", "--instance", "run", "--wait", "40")
    assert "Claimed task: task-2" in outcome.out
    assert [call.params["wait"] for call in server.calls] == [25, 25]
