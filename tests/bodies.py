"""Measures memory and time of each route's largest legal and nearest illegal body.

    python -m tests.bodies > docs/reference/limits.md

Each request runs in a process of its own, on an SQLite store. Memory is what the request adds to
the highest resident size of its process.
"""

from __future__ import annotations

import json
import os
import resource
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import yaml

TOP = Path(__file__).resolve().parents[1]
MEGABYTE = 1024 * 1024
LONGEST = 1_000_000  # characters of a text without a limit of its own
ELEMENTS = 200_001  # one more than a body may have
HEAD = """\
# The largest bodies

For each route that takes a body: a body as large as its fields allow, and that body with one
element too many (200,001 values and keys in an unknown field). Memory is what the request adds to
its process. Measured on SQLite by `python -m tests.bodies`, which writes this page.

| route | legal: size | status | memory | time | illegal: size | status | memory | time |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


def body_of(schema: dict[str, Any], known: dict[str, Any]) -> Any:
    """Return a value as large as the schema allows."""
    if "$ref" in schema:
        return body_of(known[schema["$ref"].rsplit("/", 1)[-1]], known)
    if parts := schema.get("allOf") or schema.get("oneOf") or schema.get("anyOf"):
        return body_of(parts[0], known)
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object" if "properties" in schema:
            fields = schema["properties"].items()
            return {key: body_of(one, known) for key, one in fields if key not in LEFT_OUT}
        case "object" | None:
            return {"text": "x" * LONGEST}
        case "array":
            one = body_of(schema["items"], known)
            size = max(len(json.dumps(one)), 1)
            return [one] * min(schema.get("maxItems", 1000), 1000, 4 * MEGABYTE // size + 1)
        case "string" if schema.get("format") == "date-time":
            return "2030-01-01T00:00:00Z"
        case "string":
            return "x" * min(schema.get("maxLength", LONGEST), LONGEST)
    return schema.get("minimum", False)


LEFT_OUT = frozenset(
    {"id", "parent_id", "instance_id", "depends_on", "after", "token", "preview", "force"}
)
"""Fields that name other rows or switch to another effect."""


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


def main() -> None:
    """Write the page on standard output."""
    home = tempfile.mkdtemp(prefix="hopper-bodies-")
    os.environ |= {"HOPPER_HOME": home, "HOPPER_DATABASE_URL": f"sqlite:///{home}/hopper.db"}
    os.environ["DJANGO_SETTINGS_MODULE"] = "hopper.settings"
    from hopper.cli.local import open_transport

    transport = open_transport()
    transport.request("POST", "/instances", body={"name": "top", "scope": "PROJECT"})
    transport.request("POST", "/instances/top/start", body={})
    run = {"name": "run", "scope": "ORCHESTRATION", "parent_id": "top"}
    transport.request("POST", "/instances", body=run)
    transport.request("POST", "/instances/run/start", body={})
    task = transport.request("POST", "/tasks", body={"title": "t", "instance_id": "run"}).data
    from django.db import connections

    connections.close_all()
    schema = yaml.safe_load((TOP / "docs" / "openapi.yaml").read_text(encoding="utf-8"))
    known = schema["components"]["schemas"]
    print(HEAD)
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {})
            if method not in ("post", "patch") or "application/json" not in content:
                continue
            place = path.removeprefix("/api/v1")
            at = place.replace("{id}", task["id"] if place.startswith("/tasks") else "run")
            legal = body_of(content["application/json"]["schema"], known)
            extra = {"unknown": [0] * ELEMENTS}
            illegal = [*legal, extra] if isinstance(legal, list) else {**legal, **extra}
            line = f"{cells(method.upper(), at, legal)} | {cells(method.upper(), at, illegal)}"
            print(f"| `{method.upper()} {place}` | {line} |", flush=True)


if __name__ == "__main__":
    main()
