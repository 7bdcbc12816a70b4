"""Measures memory and time of each route's largest legal and nearest illegal body.

    python -m tests.bodies > docs/reference/limits.md

Each request runs in a process of its own, on an SQLite store. Memory is what the request adds to
the highest resident size of its process.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import yaml

TOP = Path(__file__).resolve().parents[1]
MEGABYTE = 1024 * 1024
MOST_BYTES = 10 * MEGABYTE
ELEMENTS = 200_001  # one more than a body may have
HEAD = """\
# The largest bodies

For each route that takes a body: a body as large as its fields and the limit of 10 MiB allow,
and that body with one element too many (200,001 values and keys in an unknown field; 413 where it
is above the limit of bytes then). Memory is what the request adds to its process. Measured on
SQLite by `python -m tests.bodies`, which writes this page.

| route | legal: size | status | memory | time | illegal: size | status | memory | time |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


def largest(schema: dict[str, Any], known: dict[str, Any], more: dict[str, Any]) -> Any:
    """Return a body as large as the schema and the limit allow; `more` sets some of its fields."""
    longest = MOST_BYTES
    while True:
        body = body_of(schema, known, longest)
        if isinstance(body, dict):
            body |= more
        if len(json.dumps(body)) <= MOST_BYTES:
            return body
        longest = longest * 4 // 5


def body_of(schema: dict[str, Any], known: dict[str, Any], longest: int) -> Any:
    """Return a value as large as the schema allows, with texts of at most so many characters."""
    if "$ref" in schema:
        return body_of(known[schema["$ref"].rsplit("/", 1)[-1]], known, longest)
    if parts := schema.get("allOf") or schema.get("oneOf") or schema.get("anyOf"):
        return body_of(parts[0], known, longest)
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object" if "properties" in schema:
            fields = schema["properties"].items()
            return {
                key: body_of(one, known, longest)
                for key, one in fields
                if key not in LEFT_OUT and "Read-only" not in one.get("description", "")
            }
        case "object" | None:
            return {"text": "x" * min(longest, MEGABYTE - 100)}
        case "array":
            number = min(schema.get("maxItems", 1000), 1000)
            return [body_of(schema["items"], known, longest // number)] * number
        case "string" if schema.get("format") == "date-time":
            return "2030-01-01T00:00:00Z"
        case "string":
            return "x" * min(schema.get("maxLength", longest), longest)
    return schema.get("minimum", False)


LEFT_OUT = frozenset(
    {
        *("id", "parent_id", "instance_id", "depends_on", "after", "token", "preview", "force"),
        *("config", "traceparent", "unique_key", "target_instance_id", "lease_seconds"),
    }
)
"""Fields that name other rows, have a form of their own or switch to another effect."""


def measured(method: str, path: str, body: bytes, out: Any) -> None:
    """Send one request in this process. Put status, added memory (MB) and seconds into `out`."""
    from hopper.cli.local import LocalTransport

    transport = LocalTransport()
    transport.request("GET", "/status")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    reply = transport.request(method, path, body=json.loads(body))
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    out.put((reply.status, (after - before) / 1024, seconds))
    if reply.status not in (200, 201, 413) and b'"unknown"' not in body:
        print(path, reply.status, str(reply.data.get("detail"))[:300], file=sys.stderr)


def cells(method: str, path: str, body: Any) -> str:
    """Return size, status, memory and time of a request as cells of the table."""
    raw = json.dumps(body).encode()
    fork = get_context("fork")
    out = fork.Queue()
    process = fork.Process(target=measured, args=(method, path, raw, out))
    process.start()
    status, memory, seconds = out.get(timeout=120)
    process.join()
    return f"{len(raw) / MEGABYTE:.2f} MB | {status} | {memory:.0f} MB | {seconds:.2f} s"


def tasks_of(number: int) -> list[dict[str, Any]]:
    """Return so many tasks, together nearly as large as a body may be."""
    return [{"title": "x", "description": "x" * (9 * MEGABYTE // number)}] * number


class Ground:
    """A store with one queue; makes what each route acts on."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.tell("/instances", {"name": "top", "scope": "PROJECT"})
        self.tell("/instances/top/start")

    def tell(self, path: str, body: Any = None) -> Any:
        """Return the body of the answer to a POST that must succeed."""
        reply = self._transport.request("POST", path, body=body or {})
        assert reply.status < 300, (path, reply.data)
        return reply.data

    def queue(self) -> str:
        """Return the id of a new queue that runs."""
        name = f"run {time.time_ns()}"
        body = {"name": name, "scope": "ORCHESTRATION", "parent_id": "top"}
        pk = self.tell("/instances", {**body, "instance_type": "ephemeral"})["id"]
        self.tell(f"/instances/{pk}/start")
        return str(pk)

    def task(self, place: str = "", **fields: Any) -> str:
        """Return the id of a new task."""
        body = {"title": "t", "instance_id": place or self.queue(), **fields}
        return str(self.tell("/tasks", body)["id"])

    def claimed(self, number: int = 1) -> list[dict[str, Any]]:
        """Return the reports of claimed tasks: id, worker and token."""
        place = self.queue()
        tasks = [self.task(place) for _ in range(number)]
        found = [self.tell(f"/tasks/{pk}/claim", {"worker": "w"}) for pk in tasks]
        return [{"id": one["id"], "worker": "w", "token": one["lease"]["token"]} for one in found]

    def offer(self) -> str:
        """Return the id of an offer that waits for an answer."""
        body = {"target_instance_id": self.queue()}
        return str(self.tell(f"/tasks/{self.task('top')}/delegate", body)["id"])

    def aim(self, place: str) -> tuple[str, dict[str, Any]]:
        """Return the id in the address of a route, and fields of its body that name rows."""
        parts = place.strip("/").split("/")
        noun, verb = parts[0], parts[-1]
        if noun == "delegations":
            pk = self.offer()
            if verb == "complete":
                self.tell(f"/delegations/{pk}/accept")
            return pk, {}
        if noun == "webhooks" and "{id}" in place:
            body = {"instance_id": "top", "url": "https://example.org"}
            pk = str(self.tell("/webhooks", body)["id"])
            return pk, {"url": body["url"], "kinds": ["task.created"]} if verb == "{id}" else {}
        if noun == "instances" and "{id}" in place:
            return self.queue(), self._of_instance(verb)
        if noun == "tasks" and "{id}" in place:
            return self._of_task(verb)
        return "", self._of_list(place)

    def _of_instance(self, verb: str) -> dict[str, Any]:
        if verb == "next":
            return {"completed": self.reports(4)}
        kept = {"scope": "ORCHESTRATION", "instance_type": "ephemeral", "status": "running"}
        return kept if verb == "{id}" else {}

    def _of_task(self, verb: str) -> tuple[str, dict[str, Any]]:
        if verb in (
            "heartbeat",
            "complete",
            "fail",
            "release",
            "ask",
            "escalate",
            "start",
            "decompose",
        ):
            (report,) = self.claimed()
            pk = report.pop("id")
            more = {"ask": {"choices": []}, "decompose": {"children": tasks_of(1000)}}
            return pk, report | more.get(verb, {})
        pk = self.task("top" if verb == "delegate" else "", max_attempts=1)
        if verb == "answer":
            (report,) = self.claimed()
            pk = report.pop("id")
            asked = self.tell(f"/tasks/{pk}/ask", report | {"question": "?"})
            return pk, {"question_id": asked["questions"][0]["id"]}
        if verb in ("retry", "discard"):
            report = self.tell(f"/tasks/{pk}/claim", {"worker": "w"})["lease"]
            self.tell(f"/tasks/{pk}/fail", {"token": report["token"], "error": "x"})
        more = {"delegate": {"target_instance_id": self.queue()}, "status": {"status": "blocked"}}
        return pk, more.get(verb, {"status": "pending"} if verb == "{id}" else {})

    def _of_list(self, place: str) -> dict[str, Any]:
        named = {"instance_id": "top"}
        keyed = [one | {"key": f"k{number}"} for number, one in enumerate(tasks_of(200))]
        return {
            "/lessons": named | {"project": "top", "task_id": None},
            "/webhooks": named | {"url": "https://example.org/", "kinds": ["task.created"]},
            "/runs": {"project": "large", "id": "run", "name": "large", "tasks": keyed},
            "/tasks": named,
        }.get(place, {})

    def reports(self, number: int) -> list[dict[str, Any]]:
        """Return reports of claimed tasks, each with a result of a megabyte."""
        return [one | {"result": "x" * (MEGABYTE - 100)} for one in self.claimed(number)]


def main() -> None:
    """Write the page on standard output."""
    home = tempfile.mkdtemp(prefix="hopper-bodies-")
    os.environ |= {"HOPPER_HOME": home, "HOPPER_DATABASE_URL": f"sqlite:///{home}/hopper.db"}
    os.environ["DJANGO_SETTINGS_MODULE"] = "hopper.settings"
    from hopper.cli.local import open_transport

    ground = Ground(open_transport())
    from django.db import connections

    schema = yaml.safe_load((TOP / "docs" / "openapi.yaml").read_text(encoding="utf-8"))
    known = schema["components"]["schemas"]
    print(HEAD)
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {})
            if method not in ("post", "patch") or "application/json" not in content:
                continue
            place = path.removeprefix("/api/v1")
            pk, more = ground.aim(place)
            at = place.replace("{id}", pk)
            legal = largest(content["application/json"]["schema"], known, more)
            if isinstance(legal, list):
                legal = ground.reports(8) if place == "/tasks/complete" else tasks_of(1000)
            extra = {"unknown": [0] * ELEMENTS}
            illegal = [*legal, extra] if isinstance(legal, list) else {**legal, **extra}
            connections.close_all()
            words = cells(method.upper(), at, illegal)
            line = f"{cells(method.upper(), at, legal)} | {words}"
            print(f"| `{method.upper()} {place}` | {line} |", flush=True)


if __name__ == "__main__":
    main()
