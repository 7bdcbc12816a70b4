"""A tool of the server: strict about its arguments, with answers and refusals in Hopper's shape."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any, cast

from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import PrivateAttr, ValidationError

from hopper.cli.mcp import answers
from hopper.cli.mcp.parameters import Json
from hopper.cli.mcp.person import Asking, attended
from hopper.cli.transport import CliError, clean

STRUCTURED_SINCE = "2025-06-18"
"""The first version of the protocol whose clients read structured content."""


Run = Callable[[Callable[[], Any]], Awaitable[Any]]


@dataclass(frozen=True)
class Way:
    """The way in which the tools of a server run and answer.

    `during` is entered for the time of a call. `run` calls a tool; None: in a thread of its own.
    """

    text_only: bool
    run: Run | None
    during: Callable[[], AbstractContextManager[None]]


class HopperTool(Tool):
    """A tool that refuses unknown arguments. null counts as a missing argument."""

    _way: Way = PrivateAttr()

    @classmethod
    def made(
        cls, function: Callable[..., Any], words: str, hints: ToolAnnotations, way: Way
    ) -> HopperTool:
        """Return the tool for a function. Its words and parameters are all that an agent reads."""
        tool = cast(
            "HopperTool",
            cls.from_function(
                function, description=words, annotations=hints, structured_output=False
            ),
        )
        tool._way = way
        tool.parameters["additionalProperties"] = False
        # A title that repeats the name, and the default null, cost the agent tokens.
        tool.parameters.pop("title", None)
        for parameter in tool.parameters["properties"].values():
            parameter.pop("title", None)
            if parameter.get("default", "") is None:
                del parameter["default"]
            _fold_null(parameter)
        return tool

    async def run(self, arguments: Json, context: Any, convert_result: bool = False) -> Any:
        """Return the result of a call, also where it is refused."""
        unknown = self._unknown(arguments)
        if unknown:
            return answers.failed(unknown)
        try:
            given = self.fn_metadata.validate_arguments(clean(arguments))
        except ValidationError as error:
            return answers.failed(_faults(self.name, error))
        try:
            with self._way.during(), attended(context):
                found = await self._found(given)
        except CliError as error:
            return answers.refused(error)
        except Asking as asking:
            return asking.result
        return self._result(found, context)

    async def _found(self, given: Json) -> Any:
        if self._way.run is None:
            return await self.fn_metadata.call_fn(self.fn, self.is_async, given)
        return await self._way.run(partial(self.fn, **given))

    def _result(self, found: Any, context: Any) -> CallToolResult:
        version = context.protocol_version or STRUCTURED_SINCE
        return answers.tool_result(
            found, text_only=self._way.text_only or version < STRUCTURED_SINCE
        )

    def _unknown(self, arguments: Json) -> list[str]:
        """Return which arguments are not known, the near ones named."""
        known = self.parameters["properties"]
        lines = []
        for name in arguments.keys() - known.keys():
            close = get_close_matches(name, known, 1)
            hint = f" Did you mean {close[0]}?" if close else ""
            lines.append(f"{self.name} has no argument {name}.{hint}")
        return [*lines, f"Known: {', '.join(sorted(known))}."] if lines else []


def _fold_null(parameter: Json) -> None:
    """Write `a type or null` as the type: null and a missing argument are the same."""
    kinds = [one for one in parameter.get("anyOf", ()) if one != {"type": "null"}]
    if len(kinds) == 1:
        del parameter["anyOf"]
        parameter.update(kinds[0])


def _faults(name: str, error: ValidationError) -> list[str]:
    lines = []
    for fault in error.errors(include_url=False, include_context=False):
        argument = ".".join(str(part) for part in fault["loc"])
        missing = fault["type"] == "missing"
        lines.append(f"{argument}: {'is required' if missing else fault['msg']}.")
    return [f"{name} was not called.", *lines, "Next: correct the argument and call again."]
