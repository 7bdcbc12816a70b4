"""`instance create` finds its place; lifecycle commands say what an instance is now."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.cli.fakes import Call, FakeTransport, instance, ok, page, problem


@pytest.fixture(autouse=True)
def created(server: FakeTransport) -> None:
    def create(call: Call) -> object:
        fields = {"id": call.body["name"], "status": "created", **call.body}
        return ok(instance(**fields), 201)

    server.answers["POST /instances"] = create
    server.answers["GET /instances"] = page(instance("g", "GLOBAL"))


def test_an_instance_hangs_under_the_one_global_and_the_output_says_so(
    hopper: Callable, server: FakeTransport
) -> None:
    outcome = hopper("instance", "create", "sark", "--scope", "project")
    assert outcome.out.splitlines()[:2] == ["✓ Created instance: sark", "  PROJECT under g"]
    assert server.calls[-1].body["parent_id"] == "g"


@pytest.mark.parametrize(
    ("found", "options"),
    [([], []), (["g", "h"], []), (["g"], ["--root"])],
    ids=["no global", "several globals", "--root"],
)
def test_without_one_global_an_instance_becomes_a_root(
    hopper: Callable, server: FakeTransport, found: list[str], options: list[str]
) -> None:
    server.answers["GET /instances"] = page(*(instance(id, "GLOBAL") for id in found))
    outcome = hopper("instance", "create", "sark", "--scope", "PROJECT", *options)
    assert "parent_id" not in server.calls[-1].body
    assert "a root" in outcome.out


def test_an_orchestration_never_hangs_under_a_global(
    hopper: Callable, server: FakeTransport
) -> None:
    hopper("instance", "create", "run", "--scope", "Orchestration")
    assert [call.method for call in server.calls] == ["POST"]


def test_start_starts_the_new_instance_at_once(hopper: Callable, server: FakeTransport) -> None:
    server.answers["POST /instances/sark/start"] = ok(instance("sark"))
    outcome = hopper("--json", "instance", "create", "sark", "--scope", "project", "--start")
    assert json.loads(outcome.out)["status"] == "running"


@pytest.mark.parametrize("action", ["start", "stop", "restart", "pause", "resume", "recover"])
def test_an_action_says_the_status_of_each(
    hopper: Callable, server: FakeTransport, action: str
) -> None:
    for id in ("a", "b"):
        server.answers[f"POST /instances/{id}/{action}"] = ok(instance(id, status="paused"))
    outcome = hopper("instance", action, "a", "b")
    assert outcome.out == "✓ Status of a: paused\n✓ Status of b: paused\n"


def test_stop_takes_its_flags(hopper: Callable, server: FakeTransport) -> None:
    server.answers["POST /instances/a/stop"] = ok(instance("a", status="stopped"))
    hopper("instance", "stop", "a", "--force", "--evacuate")
    assert server.calls[-1].body == {"force": True, "evacuate": True}


def test_delete_with_open_work_is_refused_with_the_counts(
    hopper: Callable, server: FakeTransport
) -> None:
    server.answers["DELETE /instances/a"] = problem(
        409, "conflict", "There is open work below.", children=2, tasks=5
    )
    outcome = hopper("instance", "delete", "a")
    assert outcome.code == 1
    assert "children: 2\n  tasks: 5" in outcome.err
    server.answers["DELETE /instances/a"] = ok(None, 204)
    assert hopper("instance", "delete", "a", "--cascade").out == "✓ Terminated instance: a\n"
    assert server.calls[-1].params == {"cascade": True}


def test_list_and_show(hopper: Callable, server: FakeTransport) -> None:
    server.answers["GET /instances"] = page(instance("a", effective_status="paused"))
    out = hopper("instance", "list", "--scope", "project", "--status", "RUNNING").out
    assert "running, effectively paused" in out
    assert server.calls[-1].params["scope"] == "PROJECT"
    assert server.calls[-1].params["status"] == "running"
    server.answers["GET /instances/a"] = ok(instance("a", config={"x": [1, True]}))
    assert "Config: x 1, yes" in hopper("instance", "show", "a").out


def test_update_moves(hopper: Callable, server: FakeTransport) -> None:
    server.answers["PATCH /instances/a"] = ok(instance("a"))
    assert hopper("instance", "update", "a", "--parent", "g").out == "✓ Updated instance: a\n"
    assert server.calls[-1].body == {"parent_id": "g"}


def test_a_project_is_an_instance_of_that_scope(hopper, server) -> None:
    server.answers["GET /instances"] = page()
    server.answers["POST /instances"] = ok(instance("web"), 201)
    server.answers["GET /instances/web"] = ok(instance("web"))
    assert hopper("project", "create", "web").code == 0
    assert server.sent("POST", "/instances")[0]["scope"] == "PROJECT"
    assert hopper("project", "list").code == 0
    assert server.calls[-1].params["scope"] == "PROJECT"
    for group in ("project", "instance"):
        assert hopper(group, "get", "web").out == hopper(group, "show", "web").out
