"""A tool of the server: strict about its arguments, with answers and refusals in Hopper's shape."""

from __future__ import annotations

import inspect
from contextlib import AbstractContextManager, nullcontext
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

from mcp.server.mcpserver.tools import Tool
from pydantic import PrivateAttr, ValidationError

from hopper.cli.mcp import answers
from hopper.cli.mcp.person import Asking, attended
from hopper.cli.transport import CliError, clean

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_types import CallToolResult, ToolAnnotations

    from hopper.cli.mcp.parameters import Json

STRUCTURED_SINCE = "2025-06-18"
"""The first version of the protocol whose clients read structured content."""


class HopperTool(Tool):
    """A tool that refuses unknown arguments. null counts as a missing argument."""

    _text_only: bool = PrivateAttr(default=False)
    _during: Callable[[], AbstractContextManager[None]] = PrivateAttr(default=nullcontext)

    @classmethod
    def made(
        cls,
        function: Callable[..., Any],
        hints: ToolAnnotations,
        *,
        text_only: bool,
        during: Callable[[], AbstractContextManager[None]],
    ) -> HopperTool:
        """Return the tool for a function. Its docstring and parameters are the description.

        `during` is entered for the time of a call.
        """
        tool = cast(
            "HopperTool",
            cls.from_function(
                function,
                description=inspect.getdoc(function),
                annotations=hints,
                structured_output=False,
            ),
        )
        tool._text_only = text_only
        tool._during = during
        tool.parameters["additionalProperties"] = False
        # What the name says already, and the default null, cost the agent tokens.
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
            with self._during(), attended(context):
                found = await self.fn_metadata.call_fn(self.fn, self.is_async, given)
        except CliError as error:
            return answers.refused(error)
        except Asking as asking:
            return asking.result
        return self._told(found, context)

    def _told(self, found: Any, context: Any) -> CallToolResult:
        version = context.protocol_version or STRUCTURED_SINCE
        return answers.told(found, text_only=self._text_only or version < STRUCTURED_SINCE)

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
