"""The schema is generated without a warning, and the file in docs is current."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.core.management import call_command

pytestmark = pytest.mark.unmeasured

FILE = Path(settings.BASE_DIR) / "docs" / "openapi.yaml"


@cache
def generated() -> str:
    """Return the schema as `manage.py spectacular` writes it."""
    out = io.StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=out)
    return out.getvalue()


@cache
def schema() -> dict[str, Any]:
    """Return the schema, read; no test changes it."""
    found: dict[str, Any] = yaml.load(generated(), Loader=yaml.CSafeLoader)
    return found


def test_the_file_in_docs_is_current() -> None:
    assert FILE.read_text(encoding="utf-8") == generated(), (
        "write it anew: manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml"
    )


def test_every_operation_declares_its_problems_and_every_post_its_key() -> None:
    for path, operations in schema()["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert {"400", "401", "406"} <= set(operation["responses"]), where
            for status, response in operation["responses"].items():
                if status >= "400":
                    assert list(response["content"]) == ["application/problem+json"], where
            if method == "post":
                names = {parameter["name"] for parameter in operation["parameters"]}
                assert "Idempotency-Key" in names, where
            assert not path.endswith("/")


def test_every_operation_has_a_name_and_a_summary() -> None:
    names = []
    for path, operations in schema()["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            names.append(operation["operationId"])
            assert re.fullmatch(r"[a-z]+(_[a-z]+)*", names[-1]), where
            assert not re.search(r"_(create|retrieve|destroy|partial_update)$", names[-1]), where
            assert 5 < len(operation["summary"]) < 120, where
    assert len(set(names)) == len(names)
    assert {"list_tasks", "get_task", "claim_task", "list_task_events", "start_instance"} < {*names}


def test_a_tree_is_typed_down_to_its_leaves() -> None:
    schemas = schema()["components"]["schemas"]
    assert schemas["Tree"]["properties"]["children"]["items"] == {
        "$ref": "#/components/schemas/Tree"
    }


def _unbounded(node: Any, way: str, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield the places in the schema of a body whose values have no stated limit."""
    if "$ref" in node:
        name = node["$ref"].rsplit("/", 1)[1]
        if name not in seen:
            yield from _unbounded(schema()["components"]["schemas"][name], way, seen | {name})
        return
    if node.get("readOnly") or "Read-only" in node.get("description", ""):
        return
    limits = {
        "array": {"maxItems"},
        "string": {"maxLength", "enum", "format"},
        "integer": {"maximum"},
        "number": {"maximum"},
    }.get(node.get("type", ""))
    if limits and not limits & set(node):
        yield way
    items = [node["items"]] if "items" in node else []
    for part in (*node.get("allOf", ()), *node.get("oneOf", ()), *items):
        yield from _unbounded(part, way, seen)
    for name, inner in node.get("properties", {}).items():
        yield from _unbounded(inner, f"{way}.{name}", seen)


def test_every_value_of_a_body_has_its_limit_stated() -> None:
    unbounded = [
        place
        for path, operations in schema()["paths"].items()
        for method, told in operations.items()
        for content in told.get("requestBody", {}).get("content", {}).values()
        for place in _unbounded(content["schema"], f"{method} {path}")
    ]
    assert unbounded == []
    bulk = schema()["paths"]["/api/v1/tasks/bulk"]["post"]["requestBody"]["content"]
    body = bulk["application/json"]["schema"]
    assert (body["minItems"], body["maxItems"]) == (1, 1000)
