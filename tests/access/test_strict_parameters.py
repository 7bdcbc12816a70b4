"""A write with an unknown or a repeated parameter, or a DELETE with a body, is 400 and no change.

The operations come from the schema, so a new one is asked as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.access.conftest import World
from tests.access.routes import PREFIX, Operation, operations
from tests.access.test_matrix import filled, own_object, stored
from tests.api.conftest import Caller

pytestmark = pytest.mark.unmeasured

Make = Callable[[str], Caller]
WRITES = [pytest.param(one, id=one.name) for one in operations() if one.method != "GET"]
ASKING = [param for param in WRITES if param.values[0].queries]  # type: ignore[union-attr]
DELETES = [pytest.param(one, id=one.name) for one in operations() if one.method == "DELETE"]


@pytest.fixture
def refused(caller: Make, world: World) -> Callable[..., dict[str, Any]]:
    """Send a write by an admin that must be 400 and change nothing; return its first error."""

    def send(operation: Operation, query: str, text: str = "") -> dict[str, Any]:
        pk = own_object(operation, world) if operation.has_object else ""
        path = operation.path.replace("{id}", pk) + query
        before = stored()
        if not text and operation.body is not None:
            text = json.dumps(filled(operation.body, world))
        write = getattr(caller("admin"), operation.method.lower())
        answer = write(f"{PREFIX}{path}", data=text, content_type="application/json")
        assert answer.status_code == 400, answer.content
        assert stored() == before
        error: dict[str, Any] = answer.json()["errors"][0]
        return error

    return send


@pytest.mark.parametrize("operation", WRITES)
def test_a_write_with_an_unknown_parameter_does_nothing(
    refused: Callable[..., dict[str, Any]], operation: Operation
) -> None:
    for name in ("unknown", "status", "Preview"):
        error = refused(operation, f"?{name}=true")
        assert (error["field"], error["code"]) == (name, "unknown")


@pytest.mark.parametrize("operation", ASKING)
def test_a_write_with_a_parameter_given_twice_does_nothing(
    refused: Callable[..., dict[str, Any]], operation: Operation
) -> None:
    for name in operation.queries:
        for query in (f"?{name}=true&{name}=false", f"?{name}=true&{name}=true"):
            error = refused(operation, query)
            assert (error["field"], error["code"]) == (name, "repeated")


@pytest.mark.parametrize("text", ['{"preview": true}', "[]", '["x"]', "null", "false", "0"])
@pytest.mark.parametrize("operation", DELETES)
def test_a_delete_with_a_body_does_nothing(
    refused: Callable[..., dict[str, Any]], operation: Operation, text: str
) -> None:
    assert refused(operation, "", text)["field"] == "body"
