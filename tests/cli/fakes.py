"""A transport that answers from a table and remembers what it was asked."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hopper.cli.transport import Params, Reply

Answer = Reply | Callable[["Call"], Reply]


@dataclass(frozen=True)
class Call:
    """One request as the transport got it."""

    method: str
    path: str
    params: dict[str, Any]
    body: Any
    key: str | None = None


@dataclass
class FakeTransport:
    """Answers `answers["POST /tasks"]` and the like; anything else is a 404."""

    answers: dict[str, Answer | list[Answer]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: Any = None,
        key: str | None = None,
        seconds: float | None = None,
        tag: str = "",
    ) -> Reply:
        given = {name: value for name, value in (params or {}).items() if value is not None}
        call = Call(method, path, given, body, key)
        self.calls.append(call)
        answer = self.answers.get(f"{method} {path}")
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if answer is None:
            return problem(404, "not_found", f"There is no {path}.")
        return answer(call) if callable(answer) else answer

    def sent(self, method: str, path: str) -> list[Any]:
        """Return the bodies of all requests of that kind."""
        return [call.body for call in self.calls if (call.method, call.path) == (method, path)]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def ok(data: Any, status: int = 200) -> Reply:
    """Return a success."""
    return Reply(status, data)


def page(*rows: Any, next: str | None = None) -> Reply:
    """Return one page of a list."""
    return ok({"count": len(rows), "next": next, "previous": None, "results": list(rows)})


def problem(status: int, code: str, detail: str, **extra: Any) -> Reply:
    """Return a refusal as RFC 9457 has it."""
    head = {"type": "about:blank", "title": "Refused", "status": status}
    return Reply(status, {**head, "code": code, "detail": detail, **extra})


def task(id: str = "task-0a1b", **fields: Any) -> dict[str, Any]:
    """Return a task of the server."""
    return {
        "id": id,
        "title": "Write the tests",
        "description": "",
        "status": "pending",
        "priority": "medium",
        "instance_id": None,
        "project": None,
        "tags": [],
        "depends_on": [],
        "created_at": "2026-11-23T10:00:00Z",
        "created_by": "alice",
        **fields,
    }


def instance(id: str, scope: str = "PROJECT", **fields: Any) -> dict[str, Any]:
    """Return an instance of the server."""
    status = fields.get("status", "running")
    return {
        "id": id,
        "name": id,
        "scope": scope,
        "instance_type": "persistent",
        "status": status,
        "effective_status": status,
        "parent_id": None,
        "config": {},
        "task_counts": {},
        "children": [],
        **fields,
    }
