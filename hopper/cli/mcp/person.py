"""The person at the agent's client: asked directly where the client can show a question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import anyio
from anyio import from_thread
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult

SECONDS = 300  # how long the person at the client has; the question itself stays open
IN_ROUNDS_SINCE = "2026-07-28"
"""The first version of the protocol where the client asks between two rounds of one call."""

_CALL: ContextVar[Any] = ContextVar("call", default=None)


class Asking(Exception):
    """The call ends here: the client asks its person and calls again with the answer."""

    def __init__(self, params: ElicitRequestFormParams) -> None:
        super().__init__(params.message)
        self.result = InputRequiredResult(input_requests={"answer": ElicitRequest(params=params)})


@contextmanager
def attended(context: Any) -> Iterator[None]:
    """Remember the call whose client has the person."""
    token = _CALL.set(context)
    try:
        yield
    finally:
        _CALL.reset(token)


def can_be_asked() -> bool:
    """Return whether the client of this call shows questions to a person (elicitation)."""
    capabilities = _CALL.get().client_capabilities
    return bool(capabilities and capabilities.elicitation)


def was_asked() -> bool:
    """Return whether this is the second round of a call: the client has asked its person."""
    return bool(_CALL.get().input_responses)


def ask(question: str, choices: Sequence[str] = ()) -> str | None:
    """Return the answer of the person at the client, None without one. Raises Asking."""
    context = _CALL.get()
    if context.input_responses:
        return _answer_in(context.input_responses.get("answer"), choices)
    answer: dict[str, Any] = {"type": "string", "title": "Answer"}
    if choices:
        answer["enum"] = list(choices)
    schema = {"type": "object", "properties": {"answer": answer}, "required": ["answer"]}
    params = ElicitRequestFormParams(message=question, requested_schema=schema)
    if context.protocol_version >= IN_ROUNDS_SINCE:
        raise Asking(params)
    return _answer_in(from_thread.run(_elicited, context, params), choices)


async def _elicited(context: Any, params: ElicitRequestFormParams) -> Any:
    """Return the client's reply; None where it refuses or takes too long."""
    with anyio.move_on_after(SECONDS):
        try:
            return await context.session.elicit_form(
                params.message, params.requested_schema, related_request_id=context.request_id
            )
        except MCPError:
            return None


def _answer_in(reply: Any, choices: Sequence[str]) -> str | None:
    if not isinstance(reply, ElicitResult) or reply.action != "accept":
        return None
    answer = str((reply.content or {}).get("answer") or "").strip()
    return answer if answer and (not choices or answer in choices) else None
