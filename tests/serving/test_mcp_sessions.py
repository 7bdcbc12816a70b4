"""A session over HTTP keeps its leases while it is connected and 30 seconds longer."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import anyio
import pytest
import time_machine
from django.db import connections
from django.test import Client as Browser
from django.utils import timezone

from delegation.sweep import sweep
from hopper.serving.application import Application
from instances.models import AgentSession, AgentToken, Attempt, HopperInstance, Task
from instances.tasks.sessions import attend
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.serving.test_mcp_over_http import token_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]

HEADERS = {
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2025-06-18",
}


@pytest.fixture(autouse=True)
def _connections_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the threads of the server leave no connection behind."""
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)


class Agent:
    """An agent that speaks MCP over HTTP; `session` is the id that the server gave it."""

    def __init__(self, token: str) -> None:
        self.headers = {**HEADERS, "Authorization": f"Bearer {token}"}
        params = {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        }
        answer = self.says("initialize", **params)
        self.session = answer.headers["Mcp-Session-Id"]
        self.headers["Mcp-Session-Id"] = self.session

    def says(self, method: str, **params: Any) -> Any:
        """Send a message."""
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        body = json.dumps(message)
        return Browser().post("/mcp", body, "application/json", headers=self.headers)

    def calls(self, tool: str, **arguments: Any) -> Any:
        """Call a tool and return its answer."""
        answer = self.says("tools/call", name=tool, arguments=arguments)
        assert answer.status_code == 200, answer.content
        told = answer.json()["result"]
        assert not told.get("isError"), told
        return told["structuredContent"]

    def connects(self, seconds: float = 0.5) -> list[dict[str, Any]]:
        """Open the stream, close it after some time, and return what the server sent."""
        sent: list[dict[str, Any]] = []
        raw = {name.lower(): value for name, value in self.headers.items()} | {"host": "testserver"}
        scope = {
            "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": "/mcp", "raw_path": b"/mcp", "query_string": b"", "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in raw.items()],
            "client": ("127.0.0.1", 1), "server": ("testserver", 80),
        }  # fmt: skip

        async def open_and_close() -> None:
            asked = [{"type": "http.request", "body": b"", "more_body": False}]

            async def receive() -> Any:
                if asked:
                    return asked.pop()
                await anyio.sleep(seconds)
                return {"type": "http.disconnect"}

            async def send(message: Any) -> None:
                sent.append(dict(message))

            await Application(threads=1)(scope, receive, send)

        anyio.run(open_and_close)
        return sent

    @property
    def kept(self) -> AgentSession:
        return AgentSession.objects.get(pk=self.session)


@pytest.fixture
def run() -> str:
    """A running instance with one task."""
    project = InstanceFactory(scope="PROJECT", name="web")
    queue = InstanceFactory(scope="ORCHESTRATION", name="run", parent=project)
    TaskFactory(instance=queue)
    return str(queue.pk)


@pytest.fixture
def agent(run: str) -> Agent:
    """An agent with a session, and no lease yet."""
    return Agent(token_for("agent-1", run, "worker"))


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """The clock of the test, which stands."""
    with time_machine.travel(timezone.now(), tick=False) as clock:
        yield clock


def _outcomes() -> list[str | None]:
    return [row.outcome for row in Attempt.objects.order_by("number")]


def test_an_agent_that_leaves_is_waited_for_and_then_its_task_goes_on(agent: Agent) -> None:
    (task,) = agent.calls("claim_task", instance_id="run")["tasks"]
    agent.calls("heartbeat", task_id=task["id"], checkpoint={"step": 3})
    sent = agent.connects()
    assert sent[0]["status"] == 200
    assert b"retry: 10000" in sent[1]["body"]
    left = agent.kept.left_at
    assert left is not None
    AgentSession.objects.update(left_at=left - timedelta(seconds=25))
    assert sweep().sessions_ended == 0
    AgentSession.objects.update(left_at=left - timedelta(seconds=31))
    assert sweep().sessions_ended == 1
    assert _outcomes() == ["released"]
    assert not AgentSession.objects.exists()
    other = Agent(token_for("agent-2", "run", "worker"))
    (again,) = other.calls("claim_task", instance_id="run")["tasks"]
    assert again["lease"]["checkpoint"] == {"step": 3}


def test_an_agent_that_connects_again_keeps_its_task(agent: Agent) -> None:
    agent.calls("claim_task", instance_id="run")
    agent.connects()
    AgentSession.objects.update(left_at=agent.kept.left_at - timedelta(seconds=25))
    assert attend(agent.kept, streaming=True, actor=ALICE)
    assert agent.kept.left_at is None
    assert sweep().sessions_ended == 0
    assert _outcomes() == [None]


def test_a_message_ends_the_grace_unless_it_was_under_way_when_the_stream_ended(
    agent: Agent,
) -> None:
    agent.calls("claim_task", instance_id="run")
    agent.connects()
    agent.calls("show_tree")
    left = agent.kept.left_at
    assert left is not None
    AgentSession.objects.update(left_at=left - timedelta(seconds=6))
    agent.calls("show_tree")
    assert agent.kept.left_at is None


def test_a_stream_extends_the_leases_up_to_the_longest_run(
    agent: Agent, clock: time_machine.Traveller, run: str
) -> None:
    Task.objects.update(max_runtime_seconds=600)
    agent.calls("claim_task", instance_id=run, lease_seconds=30)

    def works_for(minutes: int) -> None:
        for _ in range(minutes * 6):
            clock.shift(timedelta(seconds=10))
            assert attend(agent.kept, streaming=True, actor=ALICE)
            sweep()

    works_for(9)
    assert _outcomes() == [None]
    works_for(3)
    assert _outcomes() == ["expired"]


def test_messages_alone_extend_the_leases_and_no_grace_ends_them(
    agent: Agent, clock: time_machine.Traveller, run: str
) -> None:
    agent.calls("claim_task", instance_id=run, lease_seconds=60)
    for _ in range(4):
        clock.shift(timedelta(seconds=50))
        sweep()
        agent.calls("show_tree")
    assert _outcomes() == [None]
    clock.shift(timedelta(seconds=61))
    sweep()
    assert _outcomes() == ["expired"]


def test_the_end_of_a_session_gives_its_leases_back_at_once(agent: Agent) -> None:
    agent.calls("claim_task", instance_id="run")
    ended = Browser().delete("/mcp", headers=agent.headers)
    assert ended.status_code == 204
    assert _outcomes() == ["released"]
    assert agent.says("tools/list").status_code == 404


def test_a_session_is_its_callers_alone(agent: Agent, run: str) -> None:
    other = {**agent.headers, "Authorization": f"Bearer {token_for('agent-2', run, 'worker')}"}
    assert Browser().delete("/mcp", headers=other).status_code == 404
    assert AgentSession.objects.filter(pk=agent.session).exists()


def test_two_sessions_of_one_token_do_not_hold_each_others_tasks(agent: Agent, run: str) -> None:
    TaskFactory(instance=HopperInstance.objects.get(pk=run))
    twin = Agent(agent.headers["Authorization"].removeprefix("Bearer "))
    (mine,) = agent.calls("claim_task", instance_id=run)["tasks"]
    (theirs,) = twin.calls("claim_task", instance_id=run)["tasks"]
    assert mine["worker"] != theirs["worker"]
    assert twin.calls("resume_work")["task_ids"] == [theirs["id"]]
    message = {"name": "complete_task", "arguments": {"task_id": mine["id"]}}
    refused = twin.says("tools/call", **message).json()["result"]
    assert refused["isError"]
    assert agent.calls("complete_task", task_id=mine["id"])["status"] == "done"


def test_a_worker_named_by_the_agent_needs_no_token(agent: Agent, run: str) -> None:
    (task,) = agent.calls("claim_task", instance_id=run, worker="builder")["tasks"]
    assert agent.calls("complete_task", task_id=task["id"])["status"] == "done"


def test_a_new_session_takes_up_the_tasks_of_the_one_that_was_cut_off(
    agent: Agent, run: str
) -> None:
    (task,) = agent.calls("claim_task", instance_id=run)["tasks"]
    agent.connects()
    successor = Agent(agent.headers["Authorization"].removeprefix("Bearer "))
    told = successor.calls("resume_work", worker=task["worker"])
    assert told["task_ids"] == [task["id"]]
    AgentSession.objects.filter(pk=agent.session).update(
        left_at=timezone.now() - timedelta(minutes=1)
    )
    assert sweep().sessions_ended == 1
    assert successor.calls("complete_task", task_id=task["id"])["status"] == "done"


def test_the_stream_of_a_revoked_token_ends(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("instances.mcp.view.LOOK_SECONDS", 0.2)

    def revoke() -> None:
        AgentToken.objects.all().delete()
        connections.close_all()

    threading.Timer(0.6, revoke).start()
    began = time.monotonic()
    agent.connects(seconds=30)
    assert time.monotonic() - began < 25


def test_sessions_that_nobody_used_for_a_day_are_forgotten(agent: Agent) -> None:
    AgentSession.objects.update(seen_at=timezone.now() - timedelta(hours=25))
    assert sweep().sessions_ended == 1
    assert agent.says("tools/list").status_code == 404
