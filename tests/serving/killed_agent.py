"""An agent that works until it is killed: `killed_agent.py http ADDRESS TOKEN` or `... stdio`."""

from __future__ import annotations

import os
import sys
from typing import Any

import anyio
import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client


async def works(client: Any) -> None:
    """Claim a task, store a checkpoint, say so, and go on for ever."""
    claimed = await client.call_tool("claim_task", {"instance_id": "run"})
    (task,) = claimed.structured_content["tasks"]
    step = {"task_id": task["id"], "checkpoint": {"step": 3}}
    told = await client.call_tool("heartbeat", step)
    assert not told.is_error, told.content
    print(task["id"], flush=True)
    await anyio.sleep_forever()


async def over_http(address: str, token: str) -> None:
    """Work over HTTP, with a stream."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(address, http_client=http), mode="legacy") as client,
    ):
        await works(client)


async def over_stdio() -> None:
    """Work over `hopper mcp`, which inherits this environment."""
    command = [sys.executable, "-m", "hopper.cli.main", "--local", "mcp"]
    server = StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ))
    async with Client(stdio_client(server)) as client:
        await works(client)


if __name__ == "__main__":
    if sys.argv[1] == "http":
        anyio.run(over_http, *sys.argv[2:])
    else:
        anyio.run(over_stdio)
