"""Delegating says how the target answered; the chain shows the way of a task."""

from __future__ import annotations

from collections.abc import Callable

from tests.cli.fakes import FakeTransport, ok, page


def hop(status: str, **fields: object) -> dict[str, object]:
    return {
        "id": "del-1",
        "task_id": "task-1",
        "source_instance_id": "global",
        "target_instance_id": "czarina",
        "delegation_type": "route",
        "status": status,
        **fields,
    }


def test_delegate_is_answered_at_once(hopper: Callable, server: FakeTransport) -> None:
    server.answers["POST /tasks/task-1/delegate"] = ok(hop("accepted"), 201)
    out = hopper("task", "delegate", "task-1", "--to", "czarina").out
    assert out.startswith("✓ Delegated task: task-1 to czarina, accepted\n")
    assert "Next: " in out
    assert server.calls[-1].body == {"target_instance_id": "czarina", "accept": "auto"}


def test_an_offer_stays_open_and_says_how_to_answer(
    hopper: Callable, server: FakeTransport
) -> None:
    server.answers["POST /tasks/task-1/delegate"] = ok(hop("pending", expires_at="soon"), 201)
    out = hopper("task", "delegate", "task-1", "--to", "czarina", "--offer", "--notes", "n").out
    assert out.startswith("✓ Offered task: task-1 to czarina, pending until soon\n")
    assert "hopper delegation accept del-1" in out
    assert "accept" not in server.calls[-1].body


def test_a_refused_delegation_says_why(hopper: Callable, server: FakeTransport) -> None:
    server.answers["POST /tasks/task-1/delegate"] = ok(hop("rejected", reason="queue_full"), 201)
    out = hopper("task", "delegate", "task-1", "--to", "czarina").out
    assert "✗ czarina did not take task-1: rejected (queue_full)" in out


def test_the_chain_is_drawn_from_origin_to_current(hopper: Callable, server: FakeTransport) -> None:
    server.answers["GET /tasks/task-1/delegations"] = ok(
        {
            "task_id": "task-1",
            "origin_instance_id": "global",
            "current_instance_id": "run-1",
            "total_delegations": 2,
            "delegations": [
                hop("completed"),
                hop(
                    "completed",
                    id="del-2",
                    source_instance_id="czarina",
                    target_instance_id="run-1",
                ),
            ],
        }
    )
    assert hopper("task", "delegations", "task-1").out == (
        "task-1: 2 delegations\n"
        "origin   global\n"
        "└── route: global → czarina [completed] del-1\n"
        "   └── route: czarina → run-1 [completed] del-2\n"
        "current  run-1\n"
    )


def test_a_pending_one_shows_why_it_has_no_answer(hopper: Callable, server: FakeTransport) -> None:
    reason = {"code": "TargetPaused", "detail": "czarina is paused", "object": "czarina"}
    server.answers["GET /delegations/del-1"] = ok(hop("pending", waiting_on=reason))
    out = hopper("delegation", "show", "del-1").out
    assert "Waiting on: code TargetPaused" in out
    assert "czarina is paused" in out


def test_offers_are_listed_and_answered(hopper: Callable, server: FakeTransport) -> None:
    server.answers["GET /instances/czarina/delegations"] = page(hop("pending"))
    line = ["delegation", "list", "--instance", "czarina", "--direction", "incoming"]
    assert hopper("--quiet", *line, "--status", "pending").out == "del-1\n"
    assert server.calls[-1].params["direction"] == "incoming"
    server.answers["POST /delegations/del-1/reject"] = ok(hop("rejected"))
    outcome = hopper("delegation", "reject", "del-1", "--reason", "no room")
    assert outcome.out == "✓ Delegation del-1: rejected\n"
    assert server.calls[-1].body == {"reason": "no room"}
