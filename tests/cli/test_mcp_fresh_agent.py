"""An agent that has never seen Hopper gets from the list of tools alone from a task to its end."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from django.db import connections
from mcp import Client

from hopper.cli.local import LocalTransport
from hopper.cli.mcp.server import TOOLS, build_server
from hopper.cli.mcp.session import SessionLeases
from hopper.cli.transport import Client as HopperClient
from tests.factories import InstanceFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]


@pytest.fixture(autouse=True)
def _connections_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the threads of the tools leave no connection behind."""
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)


TOKENS = 9000
"""The most tokens that the list of tools may cost an agent, at four characters each."""


class Reader:
    """Chooses tools by their descriptions, and arguments by their schemas."""

    def __init__(self, client: Client, tools: list[Any]) -> None:
        self._client = client
        self._tools = tools

    async def wants(self, *words: str, **known: Any) -> Any:
        """Call the one tool whose description has these words, with what its schema takes."""
        (tool,) = [one for one in self._tools if all(word in one.description for word in words)]
        schema = tool.input_schema
        given = {name: value for name, value in known.items() if name in schema["properties"]}
        assert set(schema.get("required", ())) <= set(given), tool.name
        for name, value in given.items():
            self._fits(schema["properties"][name], value, f"{tool.name}.{name}")
        answer = await self._client.call_tool(tool.name, given)
        assert not answer.is_error, answer.content
        (text,) = answer.content
        assert len(text.text) < 1000, "the text repeats the structured content"
        return answer.structured_content

    @staticmethod
    def _fits(schema: dict[str, Any], value: Any, where: str) -> None:
        kinds = {"string": str, "integer": int, "array": list, "object": dict, "boolean": bool}
        if "type" in schema:
            assert isinstance(value, kinds[schema["type"]]), where
        assert value in schema.get("enum", [value]), where


@pytest.fixture
def session() -> SessionLeases:
    """A session on a tree with one GLOBAL, a project for python, and its run."""
    top = InstanceFactory(name="top")
    web = InstanceFactory(
        scope="PROJECT", name="web", parent=top, config={"capabilities": ["python"]}
    )
    InstanceFactory(scope="ORCHESTRATION", name="run", parent=web)
    return SessionLeases(HopperClient(LocalTransport()), "reader")


def test_an_agent_adds_claims_asks_waits_decomposes_and_completes(session: SessionLeases) -> None:
    async def story() -> None:
        server = build_server(HopperClient(LocalTransport()), session)
        async with Client(server) as client:
            agent = Reader(client, (await client.list_tools()).tools)
            made = await agent.wants(
                "Create a task", "routed at once", title="Build", tags=["python"], complexity=4
            )
            assert "top" in made["summary"]
            assert "run" in made["summary"]
            place = made["instance_id"]
            claimed = await agent.wants("Take a task: give", instance_id=place)
            id = claimed["tasks"][0]["id"]
            await agent.wants("checkpoint from which", task_id=id, checkpoint={"step": 1})
            await agent.wants("Ask a person", task_id=id, question="Which licence?")
            waits = await agent.wants("List what waits for a person")
            (group,) = waits["groups"]
            step = {"tool": "answer_question", "arguments": {"task_id": id}}
            assert group["tasks"][0]["next"] == step
            rows = (await agent.wants("List the questions", task_id=id))["result"]
            await agent.wants(
                "Answer a question", task_id=id, question_id=rows[0]["id"], answer="MIT"
            )
            rows = (await agent.wants("List the questions", task_id=id, wait_seconds=5))["result"]
            assert rows[0]["answer"] == "MIT"
            await agent.wants("Take a task: give", task_id=id)
            plan = [{"title": "A", "key": "a"}, {"title": "B", "depends_on": ["a"]}]
            children = await agent.wants("Make all children", task_id=id, children=plan)
            for child in children["result"]:
                await agent.wants("Take a task: give", task_id=child["id"])
                await agent.wants("Report a task as done", task_id=child["id"], result={"ok": 1})
            ended = await agent.wants("Show a task whole", task_id=id)
            assert ended["status"] == "done"

    anyio.run(story)


def test_every_tool_and_parameter_explains_itself_within_bounds() -> None:
    async def listed() -> list[Any]:
        return await build_server(HopperClient(LocalTransport())).list_tools()

    tools = anyio.run(listed)
    assert [tool.name for tool in tools] == list(TOOLS)
    size = 0
    for tool in tools:
        assert tool.description
        assert "\n        " not in tool.description
        assert tool.annotations.read_only_hint is not None
        for name, schema in tool.input_schema["properties"].items():
            where = f"{tool.name}.{name}"
            assert schema.get("description"), where
            assert "type" in schema or "enum" in schema or where == "complete_task.result", where
            if "enum" not in schema and schema.get("type") != "boolean":
                assert schema.get("examples"), where
            if schema.get("type") == "string" and not {"enum", "format"} & schema.keys():
                assert schema.get("maxLength"), where
            if schema.get("type") in ("integer", "number"):
                assert {"minimum", "maximum"} <= schema.keys(), where
        size += len(tool.model_dump_json(by_alias=True, exclude_none=True))
    assert size / 4 < TOKENS


@pytest.mark.parametrize(
    ("name", "arguments", "next_step"),
    [
        ("get_task", {"task_id": "task-0"}, "list_tasks finds tasks"),
        ("claim_task", {"instance_id": "web"}, "Next:"),
        ("claim_task", {"instance_id": "top"}, "show_tree"),
        ("claim_task", {}, "show_tree"),
        ("add_task", {}, "title: is required"),
        ("add_task", {"title": "x", "complexity": 9}, "Correct the named argument"),
        ("list_tasks", {"status": "open"}, "status"),
    ],
)
def test_a_refusal_names_the_next_step(
    session: SessionLeases, name: str, arguments: dict[str, Any], next_step: str
) -> None:
    async def call() -> Any:
        async with Client(build_server(HopperClient(LocalTransport()), session)) as client:
            return await client.call_tool(name, arguments)

    answer = anyio.run(call)
    if name == "claim_task" and arguments.get("instance_id") == "web":
        assert not answer.is_error, "a project is worked by hand"
        return
    assert answer.is_error
    assert next_step in answer.content[0].text


def test_resources_and_prompts_are_listed_and_read(session: SessionLeases) -> None:
    async def story() -> None:
        async with Client(build_server(HopperClient(LocalTransport()), session)) as client:
            fixed = {str(one.uri) for one in (await client.list_resources()).resources}
            assert fixed == {"hopper://prime", "hopper://tree", "hopper://attention"}
            templates = (await client.list_resource_templates()).resource_templates
            assert len(templates) == 2
            for uri in (*fixed, "hopper://instances/run/queue"):
                read = await client.read_resource(uri)
                assert read.contents[0].text, uri
            prompts = {one.name for one in (await client.list_prompts()).prompts}
            assert prompts == {"triage", "decompose", "hand_over"}
            told = await client.get_prompt("hand_over", {"task_id": "task-1"})
            assert "task-1" in told.messages[0].content.text

    anyio.run(story)
