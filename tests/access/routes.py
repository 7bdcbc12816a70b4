"""All operations of the REST interface, from its schema, and the role that each write takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.openapi import schema

PREFIX = "/api/v1"
LABELS = frozenset({"conversation_id", "external_id"})
"""Fields named like a reference that Hopper only keeps."""
CREDENTIALS = frozenset({"token"})
REFERENCES = frozenset({"depends_on"})

WRITES: dict[str, tuple[str, Any]] = {
    "POST /instances": (
        "operator", {"name": "new", "scope": "ORCHESTRATION", "parent_id": "INSTANCE"},
    ),
    "PUT /instances/{id}": ("operator", {"description": "new"}),
    "PATCH /instances/{id}": ("operator", {"description": "new"}),
    "DELETE /instances/{id}": ("admin", None),
    "POST /instances/{id}/claim": ("worker", {"worker": "w"}),
    "POST /instances/{id}/next": ("worker", {"worker": "w"}),
    "POST /instances/{id}/close": ("operator", {}),
    "POST /instances/{id}/fail": ("operator", {}),
    "POST /instances/{id}/pause": ("operator", {}),
    "POST /instances/{id}/recover": ("operator", {}),
    "POST /instances/{id}/restart": ("operator", {}),
    "POST /instances/{id}/resume": ("operator", {}),
    "POST /instances/{id}/start": ("operator", {}),
    "POST /instances/{id}/stop": ("operator", {}),
    "POST /delegations/{id}/accept": ("operator", {}),
    "POST /delegations/{id}/cancel": ("operator", {}),
    "POST /delegations/{id}/complete": ("operator", {}),
    "POST /delegations/{id}/reject": ("operator", {"reason": "no"}),
    "POST /lessons": ("worker", {"title": "new", "task_id": "TASK"}),
    "POST /runs": ("operator", {"project": "INSTANCE", "id": "new-run"}),
    "POST /rules/preview": ("viewer", {"title": "new", "instance_id": "INSTANCE"}),
    "POST /tasks": ("worker", {"title": "new", "instance_id": "INSTANCE"}),
    "POST /tasks/bulk": ("worker", [{"title": "new", "instance_id": "INSTANCE"}]),
    "POST /tasks/complete": ("worker", [{"id": "TASK"}]),
    "PUT /tasks/{id}": ("operator", {"title": "new"}),
    "PATCH /tasks/{id}": ("operator", {"title": "new"}),
    "DELETE /tasks/{id}": ("operator", None),
    "POST /tasks/{id}/answer": ("operator", {"question_id": "QUESTION", "answer": "yes"}),
    "POST /tasks/{id}/ask": ("operator", {"question": "new?"}),
    "POST /tasks/{id}/cancel": ("operator", {}),
    "POST /tasks/{id}/claim": ("worker", {"worker": "w"}),
    "POST /tasks/{id}/comments": ("worker", {"text": "new"}),
    "POST /tasks/{id}/complete": ("worker", {}),
    "POST /tasks/{id}/decompose": ("worker", {"children": [{"title": "new"}]}),
    "POST /tasks/{id}/delegate": ("operator", {"target_instance_id": "BELOW"}),
    "POST /tasks/{id}/discard": ("operator", {}),
    "POST /tasks/{id}/escalate": ("worker", {}),
    "POST /tasks/{id}/fail": ("worker", {}),
    "POST /tasks/{id}/feedback": ("worker", {"was_good_match": True}),
    "POST /tasks/{id}/heartbeat": ("worker", {"token": "1.none"}),
    "POST /tasks/{id}/release": ("worker", {}),
    "POST /tasks/{id}/retry": ("operator", {}),
    "POST /tasks/{id}/route": ("operator", {}),
    "POST /tasks/{id}/start": ("worker", {}),
    "POST /tasks/{id}/status": ("worker", {"status": "blocked"}),
    "POST /webhooks": ("admin", {"url": "https://example.org/", "instance_id": "INSTANCE"}),
    "PATCH /webhooks/{id}": ("admin", {"description": "new"}),
    "DELETE /webhooks/{id}": ("admin", None),
    "POST /webhooks/{id}/replay": ("admin", {}),
    "POST /webhooks/{id}/rotate": ("admin", {}),
    "POST /webhooks/{id}/test": ("admin", {}),
}  # fmt: skip
"""The role that each operation but reading takes where its object is, and a body for it."""

READS = {"GET /webhooks/{id}": "admin", "GET /webhooks/{id}/deliveries": "admin"}
"""The role of the few operations that read more than a viewer may see."""


@dataclass(frozen=True)
class Operation:
    """One operation. `queries` are the parameters in its query, `parameters` those that are texts.

    `references` are the paths of the fields in its body that name objects, such as ("children",
    "depends_on"); `ignored` are those of read-only fields, which a request may hold.
    """

    method: str
    path: str
    parameters: tuple[str, ...] = ()
    references: tuple[tuple[str, ...], ...] = ()
    ignored: tuple[tuple[str, ...], ...] = ()
    queries: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def has_object(self) -> bool:
        return "{id}" in self.path

    @property
    def kind(self) -> str:
        """The kind of object in the path: instances, tasks, delegations, lessons, webhooks."""
        return self.path.split("/")[1]

    @property
    def role(self) -> str:
        if self.method == "GET":
            return READS.get(self.name, "viewer")
        return WRITES[self.name][0]

    @property
    def body(self) -> Any:
        return None if self.method == "GET" else WRITES[self.name][1]


@cache
def operations() -> tuple[Operation, ...]:
    """Return every operation of the schema."""
    return tuple(_operations())


def _operations() -> Iterator[Operation]:
    for path, methods in schema()["paths"].items():
        for method, told in methods.items():
            given = [one for one in told.get("parameters", ()) if one["in"] == "query"]
            queries = tuple(one["name"] for one in given)
            asked = tuple(one["name"] for one in given if _is_text(one))
            content = told.get("requestBody", {}).get("content", {}).get("application/json", {})
            found = dict(_references(content.get("schema", {})))
            taken = tuple(way for way, ignored in found.items() if not ignored)
            ignored = tuple(way for way, ignored in found.items() if ignored)
            address = path.removeprefix(PREFIX)
            yield Operation(method.upper(), address, asked, taken, ignored, queries)


def _is_text(parameter: Any) -> bool:
    told = parameter["schema"]
    return (
        told.get("type") in ("string", "array")
        and "enum" not in told
        and "enum" not in told.get("items", {})
        and told.get("format") != "date-time"
        and parameter["name"] not in ("after", "cursor")
    )


def _references(node: Any, way: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Yield the paths of the fields in a body that name an object, and whether each is ignored."""
    if "$ref" in node:
        node = schema()["components"]["schemas"][node["$ref"].rsplit("/", 1)[1]]
    for part in (*node.get("allOf", ()), *node.get("oneOf", ())):
        yield from _references(part, way)
    if node.get("type") == "array":
        yield from _references(node["items"], way)
    for name, inner in node.get("properties", {}).items():
        if name in REFERENCES | CREDENTIALS or (name.endswith("_id") and name not in LABELS):
            yield (*way, name), inner.get("description", "").startswith("Read-only: ignored")
        else:
            yield from _references(inner, (*way, name))
