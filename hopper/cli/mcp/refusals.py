"""Refusals of a message: in words, without a secret that stands at a wrong place of the message."""

from __future__ import annotations

from typing import Any

from mcp import MCPError
from mcp.server.context import CallNext, ServerRequestContext
from mcp_types import INVALID_PARAMS
from pydantic import ValidationError

from hopper.masks import masked


async def without_secrets(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> Any:
    """Answer a message, and hide the secrets in a refusal. A middleware of the SDK.

    The SDK repeats unknown names of tools, prompts, resources and methods.
    """
    try:
        result = await call_next(ctx)
    except MCPError as refusal:
        told = refusal.error
        raise MCPError(told.code, masked(told.message), _hidden(told.data)) from refusal
    except ValidationError:
        raise
    except ValueError as fault:
        # An unknown prompt, or an argument that it lacks. The SDK takes it for a crash.
        raise MCPError(INVALID_PARAMS, f"{masked(str(fault))}.") from None
    if isinstance(result, dict) and result.get("isError"):
        return {**result, "content": _hidden(result["content"])}
    return result


def _hidden(value: Any) -> Any:
    """Return a JSON value with its secrets hidden."""
    if isinstance(value, dict):
        return {name: _hidden(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_hidden(inner) for inner in value]
    return masked(value) if isinstance(value, str) else value
