"""An agent on the official SDK: its `hopper mcp` runs here, or as a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from django.conf import settings
from mcp import Client, StdioServerParameters, stdio_client

from hopper.cli.local import LocalTransport
from hopper.cli.mcp.server import build_server
from hopper.cli.mcp.session import SessionLeases
from hopper.cli.transport import Client as HopperClient

Ask = Callable[..., Awaitable[Any]]
Story = Callable[[Client, Ask], Awaitable[Any]]


def talk_here(story: Story, worker: str = "agent") -> Any:
    """Let a story talk to a server of this process, as one session; return what it returns.

    The test sets CONN_MAX_AGE to 0, so that the threads of the tools leave no connection behind.
    """
    hopper = HopperClient(LocalTransport())
    leases = SessionLeases(hopper, worker)

    async def spoken() -> Any:
        async with Client(build_server(hopper, leases)) as client:
            return await story(client, _asking(client))

    found = anyio.run(spoken)
    leases.end()
    return found


def talk_to_process(story: Story, environ: dict[str, str]) -> Any:
    """Let a story talk to a real `hopper mcp`; return what it returns."""
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "hopper.cli.main", "--local", "mcp"],
        env=environ,
        cwd=settings.BASE_DIR,
    )

    async def spoken() -> Any:
        async with Client(stdio_client(server)) as client:
            return await story(client, _asking(client))

    return anyio.run(spoken)


def _asking(client: Client) -> Ask:
    async def ask(name: str, **arguments: Any) -> Any:
        answer = await client.call_tool(name, arguments)
        assert not answer.is_error, answer.content
        found = answer.structured_content
        return found["result"] if set(found) == {"result"} else found

    return ask
