"""MCP over HTTP: the official client works with the rights of its token, on any process."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import anyio
import httpx2
import pytest
from django.contrib.auth import get_user_model
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections
from django.test import Client as Browser
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from instances.models import AgentToken, Attempt
from tests.factories import InstanceFactory, TaskFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]
PING = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}


def token_for(name: str, instance_id: str, role: str) -> str:
    """Return a token with a role at an instance."""
    user, _ = get_user_model().objects.get_or_create(username=name)
    _, secret = AgentToken.objects.create(user, name=name, role=role, instance_id=instance_id)
    return str(secret)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Silent(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    """The address of a server on this test's database."""

    class Closing(WSGIHandler):
        def __call__(self, *args: Any) -> Any:
            try:
                return super().__call__(*args)
            finally:
                connections.close_all()

    with make_server("127.0.0.1", 0, Closing(), _Server, _Silent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/mcp"
        server.shutdown()


@pytest.fixture
def run() -> str:
    """A running instance with one task, beside another project."""
    top = InstanceFactory(name="top")
    web = InstanceFactory(scope="PROJECT", name="web", parent=top)
    run = InstanceFactory(scope="ORCHESTRATION", name="run", parent=web)
    InstanceFactory(scope="PROJECT", name="ops", parent=top)
    TaskFactory(instance=run)
    return str(run.pk)


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
def test_an_agent_works_with_the_rights_of_its_token(address: str, run: str, mode: str) -> None:
    token = token_for("agent-1", run, "worker")

    async def story() -> None:
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as http,
            Client(streamable_http_client(address, http_client=http), mode=mode) as client,
        ):

            async def ask(name: str, **arguments: Any) -> Any:
                answer = await client.call_tool(name, arguments)
                assert not answer.is_error, answer.content
                return answer.structured_content

            assert [row["id"] for row in (await ask("show_tree"))["result"]] == [run]
            (task,) = (await ask("claim_task", instance_id=run))["tasks"]
            await ask("heartbeat", task_id=task["id"], checkpoint={"step": 1})
            done = await ask("complete_task", task_id=task["id"])
            assert done["status"] == "done"
            refused = await client.call_tool("claim_task", {"instance_id": "ops"})
            assert refused.is_error

    anyio.run(story)
    attempt = Attempt.objects.get()
    assert attempt.outcome == "completed"
    # A session has a worker of its own; without one the worker is named like the token.
    assert attempt.worker.startswith("agent-1-" if mode == "legacy" else "agent-1")


def test_a_stranger_and_a_page_of_another_site_are_refused(run: str) -> None:
    browser = Browser()

    def post(**headers: str) -> Any:
        kind = {"Accept": "application/json, text/event-stream", **headers}
        return browser.post("/mcp", json.dumps(PING), "application/json", headers=kind)

    assert post().status_code == 401
    assert post(Authorization="Bearer hop_nonsense").status_code == 401
    good = f"Bearer {token_for('agent-1', run, 'worker')}"
    assert post(Authorization=good, Origin="https://evil.example").status_code == 403
    assert browser.get("/mcp", headers={"Authorization": good}).status_code == 405
    assert post(Authorization=good).status_code == 200


def test_wrong_types_and_faulty_messages_are_refused_in_json(run: str) -> None:
    good = {"Authorization": f"Bearer {token_for('agent-1', run, 'worker')}"}
    accepting = {**good, "Accept": "application/json, text/event-stream"}
    plain = Browser().post("/mcp", "x=1", "text/plain", headers=accepting)
    assert (plain.status_code, plain["Content-Type"]) == (400, "application/problem+json")
    faulty = '{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"x": "\\ud800"}}'
    half = Browser().post("/mcp", faulty, "application/json", headers=accepting)
    assert (half.status_code, half.json()["error"]["code"]) == (400, -32700)
    for raw in (b'{"jsonrpc": "2.0", "id": 1, "id": 2, "method": "ping"}', b'{"id": "\xff"}'):
        answer = Browser().post("/mcp", raw, "application/json", headers=accepting)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32700)
    asked = Browser().post(
        "/mcp?colour=red", json.dumps(PING), "application/json", headers=accepting
    )
    assert (asked.status_code, asked.json()["errors"][0]["field"]) == (400, "colour")
