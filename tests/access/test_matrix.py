"""Role x operation x place, and every field that names an object: no leak and no write.

The operations come from the schema, so a new one is asked as well, and fails without an entry.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.urls import URLPattern, URLResolver, get_resolver

from hopper.actors import ROLES
from tests.access.conftest import HIDDEN, PLACES, World
from tests.access.routes import PREFIX, WRITES, Operation, operations
from tests.api.conftest import Caller

pytestmark = pytest.mark.unmeasured

Make = Callable[[str], Caller]
MISSING = {
    "instances": "no-such-one", "tasks": "task-0", "delegations": "del-0", "lessons": "lesson-0",
    "webhooks": "webhook-0",
}  # fmt: skip
UNHELD = (401, 403, 404)

ALL = [pytest.param(one, id=one.name) for one in operations()]
OF_OBJECTS = [param for param in ALL if param.values[0].has_object]  # type: ignore[union-attr]
READS = [param for param in ALL if param.values[0].method == "GET"]  # type: ignore[union-attr]
IGNORING = [param for param in ALL if param.values[0].ignored]  # type: ignore[union-attr]
NAMING = [param for param in ALL if param.values[0].references]  # type: ignore[union-attr]


UNDESCRIBED = {
    "/events/stream": "an answer without an end; tests/pages/test_staying_open.py asks its rights",
}
"""The addresses that the schema leaves out, with the reason."""


def test_every_operation_but_reading_has_an_entry() -> None:
    missing = [one.name for one in operations() if one.method != "GET" and one.name not in WRITES]
    assert missing == [], "give each a role and a body in tests/access/routes.py"


def test_every_address_of_the_interface_is_in_the_schema() -> None:
    described = {one.path.replace("{id}", "<>") for one in operations()}
    found = {path for path in _addresses(get_resolver()) if path not in described}
    assert found == set(UNDESCRIBED)


def _addresses(resolver: URLResolver, before: str = "") -> Iterator[str]:
    for pattern in resolver.url_patterns:
        here = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _addresses(pattern, here)
        elif isinstance(pattern, URLPattern):
            path = re.sub(r"\(\?P<pk>.*?\]\+\)|<(str:)?pk>", "<>", here.replace("^", ""))
            path = "/" + path.rstrip("$").replace("\\Z", "").rstrip("/")
            inside = path.startswith(f"{PREFIX}/") and "format" not in path
            if inside and path not in (f"{PREFIX}/schema", f"{PREFIX}/docs"):
                yield path.removeprefix(PREFIX)


def stored() -> str:
    """Return a digest of all rows of the product's tables, but those of tokens and keys."""
    digest = hashlib.sha256()
    with connection.cursor() as cursor:
        for statement in _statements():
            cursor.execute(statement)
            digest.update(repr(cursor.fetchall()).encode())
    return digest.hexdigest()


@cache
def _statements() -> list[str]:
    """Return what reads each table: made once, because making it took most of the time."""
    quote = connection.ops.quote_name
    return [
        f"SELECT * FROM {quote(model._meta.db_table)} ORDER BY {quote(model._meta.pk.column)}"
        for label in ("instances", "scopes", "delegation")
        for model in apps.get_app_config(label).get_models()
        if model.__name__ not in ("AgentToken", "IdempotencyRecord")
    ]


def filled(value: Any, world: World) -> Any:
    """Return a body with the ids of the callers' own objects."""
    own, more = world.objects["own"], world.more["own"]
    words = {
        "INSTANCE": own["instances"], "TASK": own["tasks"], "BELOW": more["below"],
        "QUESTION": more["question"],
    }  # fmt: skip
    if isinstance(value, dict):
        return {name: filled(inner, world) for name, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, world) for inner in value]
    return words.get(value, value) if isinstance(value, str) else value


def own_object(operation: Operation, world: World) -> str:
    """Return the callers' own object that an operation is asked about."""
    if operation.method == "GET" and operation.path.startswith("/tasks/{id}/"):
        return world.more["own"]["shared"]
    special = {
        "POST /delegations/{id}/cancel": "down",
        "POST /tasks/{id}/answer": "asking",
        "POST /tasks/{id}/claim": "given",
        "POST /instances/{id}/close": "below",
    }
    if operation.name in special:
        return world.more["own"][special[operation.name]]
    return world.objects["own"][operation.kind]


def send(caller: Caller, operation: Operation, pk: str, body: Any) -> Any:
    return caller.call(operation.method, operation.path.replace("{id}", pk), body)


def refusal(answer: Any) -> int:
    """Return the status of a refusal; a batch answers its one report on its own."""
    told = answer.json()
    is_batch = answer.status_code == 200 and isinstance(told, list)
    return int(told[0]["problem"]["status"] if is_batch else answer.status_code)


@pytest.mark.parametrize("operation", ALL)
def test_a_role_is_enough_and_the_roles_below_are_not(
    caller: Make, world: World, operation: Operation
) -> None:
    pk = own_object(operation, world) if operation.has_object else ""
    body = filled(operation.body, world)
    before = stored()
    for lower in ROLES[: ROLES.index(operation.role)]:
        answer = send(caller(lower), operation, pk, body)
        assert answer.status_code == 403, answer.content
        assert answer.json()["role"] == operation.role
    assert stored() == before
    answer = send(caller(operation.role), operation, pk, body)
    assert answer.status_code not in UNHELD, answer.content
    assert_no_secret(answer, world)


@pytest.mark.parametrize("operation", OF_OBJECTS)
def test_an_object_out_of_sight_is_not_there(
    caller: Make, world: World, operation: Operation
) -> None:
    before, body = stored(), filled(operation.body, world)
    callers = {role: caller(role) for role in ("viewer", "admin")}
    for place in PLACES[1:]:
        pk = world.objects[place].get(operation.kind)
        for one in callers.values() if pk else ():
            missing = MISSING[operation.kind]
            answer, nothing = (send(one, operation, each, body) for each in (pk, missing))
            assert answer.status_code == 404, answer.content
            assert answer.content.decode().replace(pk, missing) == nothing.content.decode()
    assert stored() == before


@pytest.mark.parametrize("operation", NAMING)
def test_a_body_that_names_an_object_out_of_sight_is_refused_as_if_it_were_not_there(
    caller: Make, world: World, operation: Operation
) -> None:
    admin = caller("admin")
    pk = own_object(operation, world) if operation.has_object else ""
    before = stored()
    for way in operation.references:
        for foreign, missing in named(way[-1], operation, world):
            bodies = [naming(filled(operation.body, world), way, one) for one in (foreign, missing)]
            answer, nothing = (send(admin, operation, pk, body) for body in bodies)
            assert 400 <= refusal(answer) < 500, (way, foreign, answer.content)
            assert answer.content.decode().replace(foreign, missing) == nothing.content.decode()
            assert stored() == before, (way, foreign)


@pytest.mark.parametrize("operation", IGNORING)
def test_a_read_only_field_has_no_effect(caller: Make, world: World, operation: Operation) -> None:
    pk = own_object(operation, world) if operation.has_object else ""
    for way in operation.ignored:
        foreign, _ = named(way[-1], operation, world)[0]
        body = naming(filled(operation.body, world), way, foreign)
        assert_no_secret(send(caller("admin"), operation, pk, body), world)


def named(field: str, operation: Operation, world: World) -> list[tuple[str, str]]:
    """Return the foreign objects that a field may name, each with an id that no object has."""
    more = world.more["sibling"]
    if field == "token":
        return [(more["token"], "1." + "A" * 24)]
    if field == "question_id":
        return [(more["question"], "question-0")]
    parent = operation.kind == "instances" and field == "parent_id"
    kind = "instances" if "instance" in field or parent else "tasks"
    ids = [world.objects[place].get(kind) for place in PLACES[1:]]
    # The parent that an instance has already may be repeated.
    return [
        (pk, MISSING[kind])
        for pk in ids
        if pk and not (parent and pk == "top" and operation.method != "POST")
    ]


def naming(body: Any, way: tuple[str, ...], value: str) -> Any:
    """Return a body with a field set. Lists on the way have one element."""
    body = deepcopy(body)
    if isinstance(body, list):
        return [naming(body[0], way, value)]
    name, *rest = way
    if rest:
        body[name] = naming(body.get(name, {}), tuple(rest), value)
    else:
        body[name] = [value] if name == "depends_on" else value
    return body


@pytest.mark.parametrize("operation", READS)
def test_no_filter_order_or_search_shows_what_is_out_of_sight(
    caller: Make, world: World, operation: Operation
) -> None:
    admin = caller("admin")
    pk = own_object(operation, world) if operation.has_object else ""
    path = operation.path.replace("{id}", pk)
    foreign = world.objects["sibling"]
    words = (foreign["instances"], foreign["tasks"], HIDDEN, "top")
    for query in ("", *(f"{name}={word}" for name in operation.parameters for word in words)):
        answer = admin.call("GET", f"{path}?{query}" if query else path)
        assert answer.status_code in (200, 400), (query, answer.content)
        assert_no_secret(answer, world, query)


def assert_no_secret(answer: Any, world: World, said: str = "") -> None:
    """Fail for an answer that holds more out of sight than the request said."""
    text = answer.content.decode().replace(said.replace(" ", "+"), "")
    sent = said.partition("=")[2]
    found = {one for one in world.secrets if one in text and one != sent}
    assert found == set(), text[:2000]
