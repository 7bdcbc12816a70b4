"""The whole way of a task by command line alone, in-process on the test's database."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command

from hopper.cli.local import LocalTransport
from hopper.cli.main import run
from hopper.cli.parser import build_parser
from tests.spellings import CAFE, FIVE

pytestmark = pytest.mark.django_db(transaction=True)

RUN = ("--instance", "czarina-run-001")


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Carry out `hopper ARGUMENTS…`, which must succeed, and return stdout."""

    def carry_out(*arguments: str) -> str:
        out = io.StringIO()
        code = run(build_parser().parse_args(arguments), LocalTransport(), out)
        assert (code, capsys.readouterr().err) == (0, "")
        return out.getvalue()

    return carry_out


@pytest.fixture
def hierarchy(cli: Callable[..., str]) -> None:
    """A GLOBAL, two projects with capabilities, a run under one of them; all started."""
    for line in (
        "hopper-global --scope GLOBAL",
        'czarina --scope project --config {"capabilities":["orchestration"]}',
        'sark --scope project --config {"capabilities":["analysis"]}',
        "czarina-run-001 --scope orchestration --parent czarina",
    ):
        cli("instance", "create", *line.split(), "--start")


def as_json(cli: Callable[..., str], *arguments: str) -> Any:
    return json.loads(cli("--json", *arguments))


def test_a_task_falls_and_its_completion_rises(cli: Callable[..., str], hierarchy: None) -> None:
    task = as_json(
        cli,
        *("task", "add", "Do it", "--instance", "hopper-global"),
        *("--tag", "orchestration", "--complexity", "4"),
    )
    id = task["id"]
    assert as_json(cli, "task", "get", id)["instance_id"] == "czarina-run-001"
    assert cli("instance", "tree") == (
        "hopper-global (GLOBAL) [running]\n"
        "├── czarina (PROJECT) [running]\n"
        "│   └── czarina-run-001 (ORCHESTRATION) [running] - 1 task\n"
        "└── sark (PROJECT) [running]\n"
    )
    claimed = as_json(cli, "task", "claim", "--instance", "czarina-run-001", "--worker", "w1")
    (mine,) = claimed["tasks"]
    assert (mine["id"], mine["status"], mine["server_status"]) == (id, "in_progress", "claimed")
    token = mine["lease"]["token"]
    held = ["--worker", "w1", "--lease-token", token]
    cli("task", "heartbeat", id, *held)
    assert cli("task", "complete", id, *held, "--result", '{"ok": true}') == (
        "✓ Changed status to: completed\n"
    )
    chain = as_json(cli, "task", "delegations", id)
    assert [hop["status"] for hop in chain["delegations"]] == ["completed", "completed"]
    assert "current  czarina-run-001" in cli("task", "delegations", id)
    assert cli("task", "events", id)
    assert "hopper-global: send to czarina\n" in cli("route", "explain", id)
    assert as_json(cli, "rules", "list") is not None


def test_me_shows_the_caller(cli: Callable[..., str]) -> None:
    assert as_json(cli, "me")["kind"] == "local"
    assert "admin everywhere: read; " in cli("me")


def test_the_dashboard_counts(cli: Callable[..., str], hierarchy: None) -> None:
    cli("task", "add", "By hand", "--instance", "sark")
    out = cli("instance", "status")
    assert "│ Global: hopper-global                    [running]  │" in out
    assert "│ Projects: 2 active, 0 stopped                       │" in out
    assert "│ Total Tasks: 1 (0 in progress)                      │" in out


def test_a_delegation_may_wait_for_an_answer(cli: Callable[..., str], hierarchy: None) -> None:
    id = as_json(cli, "task", "add", "Look", "--instance", "hopper-global")["id"]
    offer = as_json(cli, "task", "delegate", id, "--to", "sark", "--offer")
    assert offer["status"] == "pending"
    assert cli("delegation", "accept", offer["id"]) == f"✓ Delegation {offer['id']}: accepted\n"
    assert as_json(cli, "task", "get", id)["instance_id"] == "sark"
    assert cli("task", "why", id)


def test_an_unassigned_task_is_done_by_hand(cli: Callable[..., str]) -> None:
    id = as_json(cli, "add", "Alone", "-t", "a", "-t", "b")["id"]
    assert as_json(cli, "ls", "--tag", "b", "--tag", "a", "--status", "open")[0]["id"] == id
    assert as_json(cli, "ls", "--tag", "b", "--tag", "c") == []
    cli("task", "update", id, "--add-tag", "c", "--remove-tag", "a", "--priority", "urgent")
    assert as_json(cli, "task", "get", id)["tags"] == ["b", "c"]
    cli("task", "status", id, "in_progress", "--worker", "alice")
    assert [row["id"] for row in as_json(cli, "ls", "--status", "in_progress")] == [id]
    assert cli("--quiet", "task", "search", "Alone") == f"{id}\n"
    cli("task", "delete", id)
    assert as_json(cli, "task", "get", id)["status"] == "cancelled"


def test_lists_can_be_sorted(cli: Callable[..., str]) -> None:
    for title in ("b", "a", "c"):
        cli("add", title)
    for field in ("title", "created", "updated", "priority", "status"):
        cli("ls", "--sort-by", field)
    assert [row["title"] for row in as_json(cli, "ls", "--sort-by", "title")] == ["a", "b", "c"]
    assert [row["title"] for row in as_json(cli, "ls", "--sort-by=-created")] == ["c", "a", "b"]


def test_pages_have_no_gap(cli: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    ids = {as_json(cli, "add", f"task {number}")["id"] for number in range(7)}
    monkeypatch.setattr("hopper.cli.transport.PAGE", 3)
    rows = as_json(cli, "ls")
    assert len(rows) == 7
    assert {row["id"] for row in rows} == ids


def test_an_instance_is_stopped_and_terminated(cli: Callable[..., str], hierarchy: None) -> None:
    assert cli("instance", "pause", "sark") == "✓ Status of sark: paused\n"
    assert cli("instance", "resume", "sark") == "✓ Status of sark: running\n"
    assert cli("instance", "stop", "sark") == "✓ Status of sark: stopped\n"
    assert cli("instance", "delete", "sark") == "✓ Terminated instance: sark\n"
    assert "sark" not in cli("instance", "tree")
    assert "sark (PROJECT) [terminated]" in cli("instance", "tree", "--all")


def test_manage_py_shows_the_same(cli: Callable[..., str], hierarchy: None) -> None:
    for command, line in (
        ("hopper_tree", ["instance", "tree"]),
        ("hopper_status", ["instance", "status"]),
    ):
        out = io.StringIO()
        call_command(command, stdout=out)
        assert out.getvalue() == cli(*line)
    out = io.StringIO()
    call_command("hopper_instance", "show", "sark", "--json", stdout=out)
    assert json.loads(out.getvalue())["id"] == "sark"
    call_command("hopper_task", "add", "From manage.py", "--quiet", stdout=io.StringIO())
    assert len(as_json(cli, "ls")) == 1
    with pytest.raises(SystemExit) as stopped:
        call_command("hopper_instance", "show", "nobody", stdout=io.StringIO())
    assert stopped.value.code == 1


def test_tags_that_two_people_add_at_once_are_both_kept(
    cli: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    id = as_json(cli, "add", "Alone", "-t", "a")["id"]
    request = LocalTransport.request

    def beside(self: LocalTransport, method: str, path: str, **options: Any) -> Any:
        if method == "PATCH" and "b" in options["body"]["tags"]:
            monkeypatch.setattr(LocalTransport, "request", request)
            cli("task", "update", id, "--add-tag", "c")
        return request(self, method, path, **options)

    monkeypatch.setattr(LocalTransport, "request", beside)
    cli("task", "update", id, "--add-tag", "b")
    assert as_json(cli, "task", "get", id)["tags"] == ["a", "c", "b"]


@pytest.mark.parametrize("word", FIVE, ids=ascii)
def test_a_word_may_be_spelt_in_five_ways(
    cli: Callable[..., str], hierarchy: None, word: str
) -> None:
    cli("instance", "create", CAFE, "--scope", "project", "--id", "place", "--start")
    at_top = ("--instance", "hopper-global")
    named = as_json(cli, "add", "Named", "--project", word, "--tag", word, *at_top)
    assert named["instance_id"] == "place"
    for asked in (("--project", FIVE[3]), ("--tag", FIVE[1])):
        assert [row["id"] for row in as_json(cli, "ls", *asked)] == [named["id"]]
    assert [row["id"] for row in as_json(cli, "instance", "list", "--search", word)] == ["place"]
    cli("task", "update", named["id"], "--remove-tag", CAFE, "--add-tag", "x")
    assert as_json(cli, "task", "get", named["id"])["tags"] == ["x"]


@pytest.mark.parametrize("word", FIVE, ids=ascii)
def test_a_worker_has_a_capability_in_every_spelling(
    cli: Callable[..., str],
    hierarchy: None,
    word: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    id = as_json(cli, "add", "x", *RUN, "--capability", word)["id"]
    args = ["worker", "w", *RUN, "--idle-exit", "--poll", "0.05", "--capability"]
    for capability, status in (("other", "pending"), (FIVE[FIVE.index(word) - 1], "done")):
        line = build_parser().parse_args([*args, capability, "--", "true"])
        assert run(line, LocalTransport(), io.StringIO()) == 0
        capsys.readouterr()
        assert as_json(cli, "task", "get", id)["server_status"] == status


def test_a_task_shows_its_progress_its_checkpoint_and_its_children(
    cli: Callable[..., str], hierarchy: None
) -> None:
    id = as_json(cli, "add", "Build", *RUN)["id"]
    plain = cli("task", "get", id)
    assert "Progress" not in plain
    assert "Children" not in plain
    (claimed,) = as_json(cli, "task", "claim", *RUN, "--worker", "w")["tasks"]
    held = ("--worker", "w", "--lease-token", claimed["lease"]["token"])
    cli("task", "heartbeat", id, *held, "--progress", "0.5", "--checkpoint", '{"step": 3}')
    told = cli("task", "get", id)
    assert re.search(r"Progress: +50%, reported 20", told)
    assert re.search(r"Checkpoint: +step 3", told)
    whole = as_json(cli, "task", "get", id)
    assert (whole["progress"], whole["checkpoint"]) == (0.5, {"step": 3})
    assert whole["reported_at"]
    parent = as_json(cli, "add", "Plan", *RUN)["id"]
    children = [as_json(cli, "add", t, "--parent", parent)["id"] for t in ("a", "b")]
    cli("task", "cancel", children[0])
    assert re.search(r"Children: +1 pending, 1 cancelled", cli("task", "get", parent))
    rows = as_json(cli, "task", "list", "--parent", parent)
    assert {row["id"]: row["server_status"] for row in rows} == {
        children[0]: "cancelled",
        children[1]: "pending",
    }


@pytest.mark.parametrize("urlconf", ["hopper.urls", "hopper.rest.urls"])
def test_an_id_with_a_slash_is_one_clear_line(
    settings: Any, capsys: pytest.CaptureFixture[str], urlconf: str
) -> None:
    settings.ROOT_URLCONF = urlconf
    for line, path in ((["task", "get"], "tasks"), (["instance", "show"], "instances")):
        args = build_parser().parse_args([*line, "a/b"])
        assert run(args, LocalTransport(), io.StringIO()) == 1
        assert capsys.readouterr().err == f"Error: There is nothing at /api/v1/{path}/a/b.\n"
