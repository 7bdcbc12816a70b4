"""`hopper mcp`: an agent works through tools, with the rights of whoever started it."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.db import connections
from mcp import Client, MCPError

from hopper.logs import TextFormatter
from instances.models import HopperInstance
from tests.cli.mcp_agent import Ask, Story, talk_here, talk_to_process
from tests.factories import InstanceFactory
from tests.soundness import unsound
from tests.spellings import CAFE, FIVE

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def tree() -> None:
    """A GLOBAL over a project for python, and its run."""
    top = InstanceFactory(name="top")
    web = InstanceFactory(
        scope="PROJECT", name="web", parent=top, config={"capabilities": ["python"]}
    )
    InstanceFactory(scope="ORCHESTRATION", name="run", parent=web)


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch) -> Callable[[Story], None]:
    """Talk to the server of `hopper mcp` in this process."""
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)
    return talk_here


def test_an_agent_creates_finds_claims_and_completes_a_task(child_environ: dict[str, str]) -> None:
    async def story(client: Client, ask: Ask) -> None:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert {"add_task", "claim_task", "complete_task", "why_task"} <= names
        task = await ask(
            "add_task", title="Fix it", instance_id="top", tags=["python"], complexity=4
        )
        assert task["instance_id"] == "run"
        assert (await ask("why_task", task_id=task["id"]))["waiting_on"]["code"]
        (listed,) = await ask("list_tasks", instance_id="run", ready=True)
        assert listed["id"] == task["id"]
        claimed = await ask("claim_task", instance_id="run", worker="agent")
        token = claimed["tasks"][0]["lease"]["token"]
        beat = {"task_id": task["id"], "token": token}
        await ask("heartbeat", **beat, progress=0.5, checkpoint={"step": 1})
        done = await ask("complete_task", **beat, result={"ok": True})
        assert (done["status"], done["result"]) == ("done", {"ok": True})
        way = await ask("trace_task", task_id=task["id"])
        assert [hop["status"] for hop in way["delegations"]] == ["completed", "completed"]
        assert len(way["decisions"]) == 2
        assert {row["id"]: row["open_tasks"] for row in await ask("show_tree")} == {
            "top": 0,
            "web": 0,
            "run": 0,
        }

    talk_to_process(story, child_environ)
    assert unsound() == []


def test_an_agent_decomposes_its_task_and_may_say_so_again(talk: Callable[[Story], None]) -> None:
    async def story(client: Client, ask: Ask) -> None:
        task = await ask("add_task", title="Build it", instance_id="run")
        claimed = await ask("claim_task", instance_id="run", worker="agent")
        plan = {
            "task_id": task["id"],
            "token": claimed["tasks"][0]["lease"]["token"],
            "children": [{"key": "a", "title": "A"}],
        }
        first = await ask("decompose_task", **plan)
        assert await ask("decompose_task", **plan) == first
        assert (await ask("why_task", task_id=task["id"]))["waiting_on"]["code"] == (
            "WaitingChildren"
        )

    talk(story)
    assert unsound() == []


def test_a_refusal_is_shown_in_words_and_changes_nothing(talk: Callable[[Story], None]) -> None:
    async def story(client: Client, ask: Ask) -> None:
        answer = await client.call_tool("add_task", {"title": "x", "complexity": 9})
        assert answer.is_error
        assert "complexity" in answer.content[0].text
        answer = await client.call_tool("complete_task", {"task_id": "task-0", "token": "1.x"})
        assert answer.is_error
        assert "task-0" in answer.content[0].text
        assert await ask("list_tasks") == []

    talk(story)


def test_an_unknown_argument_is_refused_and_the_near_one_is_named(
    talk: Callable[[Story], None],
) -> None:
    async def story(client: Client, ask: Ask) -> None:
        for tool in (await client.list_tools()).tools:
            answer = await client.call_tool(tool.name, {"instance": "top", "nonsense": 1})
            assert answer.is_error, tool.name
            assert "has no argument" in answer.content[0].text, tool.name
        answer = await client.call_tool("add_task", {"title": "x", "instance": "top"})
        assert "Did you mean instance_id?" in answer.content[0].text
        assert "unique_key" in answer.content[0].text
        assert await ask("list_tasks") == []

    talk(story)


def test_a_null_argument_counts_as_left_out_and_a_text_stays_a_text(
    talk: Callable[[Story], None],
) -> None:
    async def story(client: Client, ask: Ask) -> None:
        task = await ask("add_task", title="[1]", description='{"a": 1}', project=None)
        assert (task["title"], task["description"]) == ("[1]", '{"a": 1}')

    talk(story)


def test_without_the_extra_it_says_what_to_install(
    hopper: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hopper.cli.mcp.server", None)
    outcome = hopper("mcp")
    assert outcome.code == 1
    assert "hopper-queue[mcp]" in outcome.err


def test_an_agent_may_spell_a_word_in_five_ways(talk: Callable[[Story], None]) -> None:
    InstanceFactory(scope="PROJECT", name=CAFE, id="place", parent=HopperInstance(pk="top"))

    async def story(client: Client, ask: Ask) -> None:
        for word in FIVE:
            task = await ask("add_task", title="x", instance_id="top", project=word)
            assert task["instance_id"] == "place"
            words = {"tags": [word], "required_capabilities": [word]}
            task = await ask("add_task", title="x", instance_id="run", **words)
            for tag in FIVE:
                assert [one["id"] for one in await ask("list_tasks", tags=[tag], ready=True)] == [
                    task["id"]
                ]
            wish = {"instance_id": "run", "worker": "w", "capabilities": [CAFE], "tags": [CAFE]}
            (claimed,) = (await ask("claim_task", **wish))["tasks"]
            await ask("complete_task", task_id=task["id"], token=claimed["lease"]["token"])

    talk(story)


def test_an_agent_sees_the_progress_and_the_children_of_a_task(
    talk: Callable[[Story], None],
) -> None:
    async def story(client: Client, ask: Ask) -> None:
        task = await ask("add_task", title="Build it", instance_id="run")
        claimed = await ask("claim_task", instance_id="run", worker="agent")
        mine = {"task_id": task["id"], "token": claimed["tasks"][0]["lease"]["token"]}
        await ask("heartbeat", **mine, progress=0.5, checkpoint={"step": 3})
        whole = await ask("get_task", task_id=task["id"])
        assert (whole["progress"], whole["checkpoint"]) == (0.5, {"step": 3})
        plan = [{"key": "a", "title": "A"}, {"key": "b", "title": "B"}]
        made = await ask("decompose_task", **mine, children=plan)
        first = made["result"][0]["id"] if isinstance(made, dict) else made[0]["id"]
        await ask("cancel_task", task_id=first)
        whole = await ask("get_task", task_id=task["id"])
        counts = {status: number for status, number in whole["children"].items() if number}
        assert (counts["pending"], counts["cancelled"]) == (1, 1)
        rows = await ask("list_children", task_id=task["id"])
        assert {row["title"]: row["status"] for row in rows} == {"A": "cancelled", "B": "pending"}

    talk(story)


TOKEN, LEASE = "hop_0123456789abcdef", "12.abcdefghijklmnopqrstuvwx"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw+/="


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("get_task", {"task_id": SECRET}),
        ("complete_task", {"task_id": f"task-{TOKEN}", "token": LEASE}),
        ("complete_task", {"task_id": "task-0", "token": [LEASE]}),
        ("add_task", {"title": "x", "instance_id": TOKEN}),
        ("add_task", {"title": "x", TOKEN: LEASE}),
        ("add_task", {"title": "x", "complexity": SECRET}),
        (TOKEN, {}),
        (f"get_{LEASE}", {}),
    ],
)
def test_no_secret_stands_in_an_error_or_a_log(
    talk: Callable[[Story], None],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    tool: str,
    arguments: dict[str, Any],
) -> None:
    found: list[str] = []

    async def story(client: Client, ask: Ask) -> None:
        try:
            answer = await client.call_tool(tool, arguments)
            assert answer.is_error
            found.append(str(answer))
        except MCPError as error:
            found.append(str(error))

    caplog.set_level("INFO")
    talk(story)
    shown = TextFormatter("%(message)s")
    told = "\n".join([*found, *map(shown.format, caplog.records), *capfd.readouterr()])
    assert [secret for secret in (TOKEN, LEASE, SECRET) if secret in told] == []


def test_an_unknown_name_is_refused_without_a_secret_in_it(talk: Callable[[Story], None]) -> None:
    async def refused(call: Awaitable[Any]) -> str:
        with pytest.raises(MCPError) as refusal:
            await call
        return str(refusal.value.error)

    async def story(client: Client, ask: Ask) -> None:
        words = [
            await refused(call)
            for secret in (TOKEN, LEASE)
            for call in (
                client.get_prompt(secret),
                client.get_prompt("decompose", {secret: secret}),
                client.read_resource(secret),
                client.read_resource(f"hopper://{secret}"),
                client.read_resource(f"hopper://tasks/{secret}"),
                client.read_resource(f"hopper://instances/{secret}/queue"),
            )
        ]
        assert [line for line in words if TOKEN in line or LEASE in line] == []
        unknown, lacking, _, address, task, queue, *_ = words
        assert "Unknown prompt: ***" in unknown
        assert "task_id" in lacking
        assert "Unknown resource: hopper://***" in address
        assert "There is no task ***." in task
        assert "There is no instance ***." in queue

    talk(story)
