"""The messages on standard input and output: a line that is none is answered by an error."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectSendStream
from mcp.server.mcpserver import MCPServer
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

from hopper.cli.mcp.session import CALLS_END
from hopper.cli.waiting import LONGEST_WAIT
from hopper.json_values import read_json

MOST_SHOWN = 200
"""The most characters of an id that is sent back."""


async def speak(server: MCPServer[Any], at_end: Callable[[], None]) -> None:
    """Answer the messages on standard input until it ends. Every request gets an answer.

    The SDK drops a line that is no message, and the client would wait for ever. It takes one value
    of a key that stands twice, and replaces bytes that are not UTF-8. The SDK also drops
    the answers under way when standard input ends: a client that pipes its requests would miss
    them. When the input has ended, short calls end before `at_end` is called; long calls may end
    after it.
    """
    lowlevel = server._lowlevel_server
    nothing = cast("anyio.AsyncFile[str]", _nothing())
    async with stdio_server(nothing) as (_, wire), anyio.create_task_group() as group:
        requests = Requests(wire)
        good, messages = anyio.create_memory_object_stream[SessionMessage | Exception]()
        answers, answered = anyio.create_memory_object_stream[SessionMessage]()

        async def judge() -> None:
            async with good:
                async for line in _standard_input():
                    message = message_in(line)
                    if isinstance(message, SessionMessage):
                        requests.read(message)
                        await good.send(message)
                    elif message:
                        await wire.send(SessionMessage(message))
                with anyio.move_on_after(CALLS_END):
                    await requests.all_answered()
                await anyio.to_thread.run_sync(at_end)
                with anyio.move_on_after(LONGEST_WAIT):
                    await requests.all_answered()

        group.start_soon(judge)
        group.start_soon(requests.pass_on, answered)
        await lowlevel.run(messages, answers, lowlevel.create_initialization_options())


class Requests:
    """The requests of a session that have no answer yet. The answers go to `wire`."""

    def __init__(self, wire: MemoryObjectSendStream[SessionMessage]) -> None:
        self._wire = wire
        self._open: list[int | str] = []
        self._changed = anyio.Event()

    def read(self, message: SessionMessage) -> None:
        """Note the request in `message`, if it is one; a cancelled request expects no answer."""
        match message:
            case SessionMessage(message=JSONRPCRequest(id=request)):
                self._open.append(request)
            case SessionMessage(
                message=JSONRPCNotification(
                    method="notifications/cancelled", params={"requestId": request}
                )
            ):
                self._close(request)

    async def pass_on(self, answers: AsyncIterator[SessionMessage]) -> None:
        """Write `answers` until they end."""
        async with self._wire:
            async for answer in answers:
                await self._wire.send(answer)
                if isinstance(answer.message, JSONRPCResponse | JSONRPCError):
                    self._close(answer.message.id)

    async def all_answered(self) -> None:
        """Return when every request has its answer."""
        while self._open:
            await self._changed.wait()

    def _close(self, request: object) -> None:
        if request in self._open:
            self._open.remove(request)
        self._changed.set()
        self._changed = anyio.Event()


async def _nothing() -> AsyncIterator[str]:
    """Yield no line: the SDK reads none."""
    for line in list[str]():
        yield line


async def _standard_input() -> AsyncIterator[bytes]:
    """Yield the lines of standard input; none where the caller has closed it."""
    if sys.stdin is not None:
        async for line in anyio.wrap_file(sys.stdin.buffer):
            yield line


def message_in(line: bytes) -> SessionMessage | JSONRPCError | None:
    """Return the message of a line, the refusal of another line, None for an empty one."""
    if not line.strip():
        return None
    try:
        read_json(line)
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False)[0]
        if fault["type"] == "json_invalid":
            return _refusal(PARSE_ERROR, fault["msg"], line)
        return _refusal(INVALID_REQUEST, "No message", line)
    except ValueError as error:
        return _refusal(PARSE_ERROR, f"Invalid JSON: {error}", line)


def _refusal(code: int, words: str, line: bytes) -> JSONRPCError:
    told = ErrorData(code=code, message=f"{words}. A message is one line of JSON-RPC 2.0.")
    return JSONRPCError(jsonrpc="2.0", id=_id_in(line), error=told)


def _id_in(line: bytes) -> int | str | None:
    """Return the id of a faulty message, if it tells one that can be sent back."""
    try:
        message = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    found = message.get("id") if isinstance(message, dict) else None
    if isinstance(found, str):
        return found if len(found) <= MOST_SHOWN and found.isprintable() else None
    return found if type(found) is int else None
