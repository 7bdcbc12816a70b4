"""The messages on standard input and output: a line that is none is answered by an error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp_types import INVALID_REQUEST, PARSE_ERROR, ErrorData, JSONRPCError
from pydantic import ValidationError

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

MOST_SHOWN = 200
"""The most characters of an id that is sent back."""


async def speak(server: MCPServer[Any]) -> None:
    """Answer the messages on standard input until it ends. Every request gets an answer.

    The SDK drops a line that is no message, and the client would wait for ever.
    """
    lowlevel = server._lowlevel_server
    async with stdio_server() as (lines, answers), anyio.create_task_group() as group:
        good, messages = anyio.create_memory_object_stream[SessionMessage | Exception]()

        async def judge() -> None:
            async with good:
                async for line in lines:
                    if not isinstance(line, ValidationError):
                        await good.send(line)
                    elif refusal := refusal_of(line):
                        await answers.send(SessionMessage(refusal))

        group.start_soon(judge)
        await lowlevel.run(messages, answers, lowlevel.create_initialization_options())


def refusal_of(error: ValidationError) -> JSONRPCError | None:
    """Return the answer to a line that is no message, None for an empty line."""
    fault = error.errors(include_url=False, include_context=False)[0]
    line: Any = fault["input"]
    if isinstance(line, str) and not line.strip():
        return None
    no_json = fault["type"] == "json_invalid"
    code, words = (PARSE_ERROR, fault["msg"]) if no_json else (INVALID_REQUEST, "No message")
    told = ErrorData(code=code, message=f"{words}. A message is one line of JSON-RPC 2.0.")
    return JSONRPCError(jsonrpc="2.0", id=_id_in(line), error=told)


def _id_in(line: Any) -> int | str | None:
    """Return the id of a faulty message, if it tells one that can be sent back."""
    try:
        message = json.loads(line) if isinstance(line, str) else line
    except (ValueError, RecursionError):
        return None
    found = message.get("id") if isinstance(message, dict) else None
    if isinstance(found, str):
        return found if len(found) <= MOST_SHOWN and found.isprintable() else None
    return found if type(found) is int else None
