"""Bad input on any route is a problem that names what is wrong, and nothing is written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from django.db import connection
from django.test import Client, override_settings

from delegation.delegator import Delegator
from instances.api.task_serializers import REPORT
from instances.models import Event, HopperInstance, Task
from tests.api.conftest import API, Caller
from tests.factories import ALICE, TaskFactory
from tests.openapi import schema
from tests.worlds import kept

PROBLEM = "application/problem+json"
# What stands for an id in the paths of the schema.
EXAMPLES = {"instances": "web", "tasks": "TASK", "delegations": "DELEGATION"}
DESCRIBED = {
    path.removeprefix(API).replace("{id}", EXAMPLES.get(f"{path}//".split("/")[3], "")): methods
    for path, methods in schema()["paths"].items()
    if "{id}" not in path or path.split("/")[3] in EXAMPLES
}
OPERATIONS = [
    (method.upper(), path)
    for path, methods in DESCRIBED.items()
    for method in methods
    if method != "delete"
]
PARAMETERS = [
    (path, told["name"], told["schema"])
    for path, methods in DESCRIBED.items()
    for told in methods.get("get", {}).get("parameters", ())
    if told["in"] == "query"
]
INTEGERS = [(path, name) for path, name, told in PARAMETERS if told.get("type") == "integer"]
TEXTS = [
    (path, name, told)
    for path, name, told in PARAMETERS
    if told.get("type") == "string" and not {"enum", "format"} & set(told)
]
WRITES = [(method, path) for method, path in OPERATIONS if method != "GET"]
READS = [path for method, path in OPERATIONS if method == "GET"]
BODIES = {
    "unknown field": b'{"colour": "red", "title": "x", "name": "x", "scope": "GLOBAL"}',
    "NUL": b'{"title": "a\\u0000b", "name": "a\\u0000b", "reason": "\\u0000"}',
    "NUL in a key": b'{"a\\u0000b": 1}',
    "half a surrogate": b'{"title": "\\ud800", "name": "\\ud800"}',
    "NaN": b'{"title": NaN}',
    "a huge number": b'{"context": {"n": 1e999}}',
    "a huge integer": b'{"complexity": 99999999999999999999}',
    "no JSON": b'{"title": ',
    "not UTF-8": b'{"title": "\xff"}',
    "a text": b'"text"',
    "a number": b"5",
    "null where an object is meant": b"[null]",
    "too deep": b'{"context": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "deep": b'{"context": ' + b"[" * 200 + b"]" * 200 + b"}",
}


@pytest.fixture
@kept
def task(tree: dict[str, HopperInstance]) -> Task:
    """A task that rests at a project."""
    return TaskFactory(instance=tree["web"], title="kept")


def rows() -> tuple[Any, ...]:
    """Return what must not change."""
    return (
        list(HopperInstance.objects.order_by("pk").values()),
        list(Task.objects.order_by("pk").values()),
        Event.objects.count(),
    )


def raw(client: Caller, method: str, path: str, body: bytes, **headers: str) -> Any:
    """Return the answer to a body sent as it is."""
    kind = headers.pop("content_type", "application/json")
    return client.generic(method, f"{API}{path}", body, content_type=kind, headers=headers)


def assert_problem(answer: Any, *statuses: int) -> dict[str, Any]:
    """Return the problem after looking at its form."""
    assert answer.status_code in statuses, (answer.status_code, answer.content)
    assert answer["Content-Type"] == PROBLEM
    body = json.loads(answer.content)
    assert body["status"] == answer.status_code
    assert {"type", "title", "code", "detail"} <= set(body)
    assert body["detail"]
    return dict(body)


@pytest.fixture
def at(task: Task) -> Callable[[str], str]:
    """`at(path)`: the path with the ids of the task and of its offer."""
    offer = Delegator(ALICE).delegate_task(task.pk, "web-run").delegation
    ids = {"TASK": task.pk, "DELEGATION": offer.pk}
    return lambda path: re.sub("TASK|DELEGATION", lambda word: ids[word[0]], path)


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_a_bad_body_is_refused_and_nothing_is_written(
    ada: Caller, at: Callable[[str], str], subtests: pytest.Subtests, method: str, path: str
) -> None:
    before = rows()
    for name, body in BODIES.items():
        with subtests.test(name):
            assert_problem(raw(ada, method, at(path), body), 400)
    with subtests.test("another type than JSON"):
        assert_problem(raw(ada, method, at(path), b"a=b", content_type="text/plain"), 415)
    assert rows() == before


@pytest.mark.parametrize(
    ("method", "path"), [case for case in OPERATIONS if re.search("web|[A-Z]{4}", case[1])]
)
def test_an_unknown_id_is_not_found(
    ada: Caller, tree: dict[str, HopperInstance], method: str, path: str
) -> None:
    path = re.sub("web|TASK|DELEGATION", "nothing-0", path)
    body = {"worker": "w", "status": "done", "target_instance_id": "web", "token": "1.x"}
    known = {key: body[key] for key in _needed(path)}
    answer = ada.call(method, path, None if method == "GET" else known)
    assert_problem(answer, 404)


def _needed(path: str) -> tuple[str, ...]:
    return {
        "claim": ("worker",),
        "status": ("status",),
        "delegate": ("target_instance_id",),
        "heartbeat": ("token",),
    }.get(path.rsplit("/", 1)[-1], ())


@pytest.mark.parametrize("path", READS)
def test_an_unknown_parameter_is_refused_naming_the_known_ones(
    ada: Caller, at: Callable[[str], str], path: str
) -> None:
    answer = ada.get(f"{API}{at(path)}", {"colour": "red"})
    body = assert_problem(answer, 400)
    assert body["errors"][0]["field"] == "colour"
    assert "known" in body["errors"][0]["detail"]


@pytest.mark.parametrize("path", READS)
def test_a_nul_in_a_path_or_a_parameter_is_no_failure(
    ada: Caller, at: Callable[[str], str], subtests: pytest.Subtests, path: str
) -> None:
    for name in ("limit", "status", "search", "under", "after", "since", "depth", "q"):
        with subtests.test(name):
            assert_problem(ada.get(f"{API}{at(path)}?{name}=a%00b"), 400)
    odd = re.sub("web|TASK|DELEGATION", "a%00b", path)
    if odd != path:
        assert_problem(ada.get(f"{API}{odd}"), 404)


def test_every_integer_parameter_is_read_strictly(
    ada: Caller, at: Callable[[str], str], subtests: pytest.Subtests
) -> None:
    # Python's int() takes digits of other alphabets and raises for a number of 5,000 digits.
    for path, name in INTEGERS:
        for value in ("9" * 5000, "%D9%A1", "1.5", "-1", "1e3", "%2B1", ""):
            with subtests.test(f"{path} {name}={value[:9]}"):
                body = assert_problem(ada.get(f"{API}{at(path)}?{name}={value}"), 400)
                assert body["errors"][0]["field"] == name


def test_every_text_parameter_has_its_longest_length_stated_and_kept(
    ada: Caller, at: Callable[[str], str], subtests: pytest.Subtests
) -> None:
    assert len(TEXTS) > 50
    for path, name, told in TEXTS:
        if name != "cursor":  # bounded by the length of the address
            with subtests.test(f"{path} {name}"):
                value = "x" * (told["maxLength"] + 1)
                body = assert_problem(ada.get(f"{API}{at(path)}?{name}={value}"), 400)
                (error,) = body["errors"]
                assert (error["field"], error["code"]) == (name, "max_length")
                assert str(told["maxLength"]) in error["detail"]
    assert ada.ask("/tasks", search="x" * 1000)["results"] == []


@pytest.mark.parametrize("path", READS)
def test_a_parameter_that_is_not_utf8_is_refused_by_its_name(
    ada: Caller, at: Callable[[str], str], subtests: pytest.Subtests, path: str
) -> None:
    # A byte of another encoding, half of a character, a surrogate, a name.
    for query in ("search=%ff", "search=%C3", "search=a&search=%ED%A0%80", "%FF=1"):
        with subtests.test(query):
            body = assert_problem(ada.get(f"{API}{at(path)}?{query}"), 400)
            (error,) = body["errors"]
            assert error["code"] == "not_utf8"
            assert error["field"] in ("search", "\ufffd")


@pytest.mark.parametrize("address", [f"{API}/tasks/%ff", f"{API}/%C3", "/tasks/%ff", "/%FF"])
def test_a_path_that_is_not_utf8_is_refused(ada: Caller, address: str) -> None:
    assert assert_problem(ada.get(address), 400)["code"] == "not_utf8"


def test_an_address_whose_text_looks_encoded_is_read(ada: Caller) -> None:
    for address in (f"{API}/tasks/%25FF", "/%25FF"):
        # gunicorn gives the address as it was sent.
        assert_problem(ada.get(address, RAW_URI=address), 404)
    assert_problem(ada.get("/%FF", RAW_URI="/%FF?a=b"), 400)
    assert_problem(ada.get("/%FF", RAW_URI="/\xff"), 400)


@pytest.mark.parametrize("address", ["/find?q=%ff", "/admin/login/?next=%ff", "/healthz?a=%ff"])
def test_a_query_of_a_page_that_is_not_utf8_is_refused(client: Client, address: str) -> None:
    assert_problem(client.get(address), 400)


def test_the_replacement_character_itself_is_text(ada: Caller) -> None:
    assert ada.ask("/tasks", search="\ufffd")["results"] == []


JSON_KINDS = {
    "null": None, "true": True, "a whole number": 5, "a decimal number": 2.5, "a text": "x",
    "a list": [], "an object": {},
}  # fmt: skip
TAKEN = {"true or false": ("true",), "a number": ("a whole number", "a decimal number")}


@pytest.mark.parametrize(
    ("path", "field", "allowed"),
    [
        ("/tasks", "", "an object"), ("/tasks/bulk", "", "a list"),
        ("/tasks/complete", "", "a list"), ("/tasks/bulk", "0", "an object"),
        ("/tasks", "title", "a text"),
        ("/tasks", "tags", "a list"), ("/tasks", "complexity", "a whole number"),
        ("/tasks", "context", "an object"), ("/instances/web/stop", "force", "true or false"),
        ("/runs", "tasks", "a list"), ("/tasks/TASK/decompose", "children", "a list"),
        ("/tasks/TASK/decompose", "children.0", "an object"),
        ("/tasks/TASK/feedback", "quality_score", "a number"),
    ],
)  # fmt: skip
def test_a_wrong_json_type_is_named_beside_the_allowed_one(
    ada: Caller,
    at: Callable[[str], str],
    subtests: pytest.Subtests,
    path: str,
    field: str,
    allowed: str,
) -> None:
    for kind, value in JSON_KINDS.items():
        if value is None or kind in TAKEN.get(allowed, (allowed,)):
            continue
        with subtests.test(kind):
            sent = value
            for name in reversed(field.split(".")):
                sent = [sent] if name == "0" else {name: sent} if name else sent
            found = assert_problem(ada.call("POST", at(path), sent), 400)["errors"]
            (error,) = [one for one in found if one["field"] == (field or "body")]
            assert error["detail"] == f"must be {allowed}, not {kind}"


@pytest.mark.parametrize("address", ["/api/v1/schema", "/api/v1/docs"])
@pytest.mark.parametrize("query", ["format=x", "format=json", "lang=de", "colour=red"])
def test_the_schema_and_its_page_take_no_parameter(
    client: Client, address: str, query: str
) -> None:
    body = assert_problem(client.get(f"{address}?{query}"), 400)
    assert body["errors"][0]["field"] == query.split("=")[0]
    assert client.get("/api/v1/docs?script=").status_code == 200


@pytest.mark.parametrize("path", ["/instances", "/tasks", "/delegations", "/events"])
def test_bad_bounds_of_a_page_are_refused(
    ada: Caller, subtests: pytest.Subtests, path: str
) -> None:
    for name in ("limit", "offset"):
        for value in ("0x", "x", "-1", "1.5", "99999999999999999999", "", "%D9%A1"):
            with subtests.test(f"{name}={value}"):
                assert_problem(ada.get(f"{API}{path}?{name}={value}"), 400)
    for value in ("0", "501"):
        with subtests.test(f"limit={value}"):
            assert_problem(ada.get(f"{API}{path}?limit={value}"), 400)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/instances", "root=maybe"),
        ("/instances", "scope=galaxy"),
        ("/instances", "status=gone"),
        ("/instances", "ordering=colour"),
        ("/instances", "include_terminated=2"),
        ("/tasks", "status=open"),
        ("/tasks", "priority=none"),
        ("/tasks", "ready=perhaps"),
        ("/tasks", "created_after=yesterday"),
        ("/tasks", "ordering=colour"),
        ("/tasks", "ordering=,"),
        ("/tasks", "ordering=title,"),
        ("/instances", "ordering=,"),
        ("/tasks", "created_after=0001-01-01T00:00:00%2B23:00"),
        ("/tasks", "after=task-0"),
        ("/tasks", "cursor=task-0"),
        ("/events", "after=1&offset=3"),
        ("/events", "since=0"),
        ("/events", "after=x"),
        ("/events", "after=-1"),
        ("/delegations", "status=open"),
        ("/status", "under=nowhere"),
        ("/instances/web/hierarchy", "depth=-1"),
        ("/instances/web/hierarchy", "depth=x"),
        ("/instances/web/tasks", "subtree=2"),
        ("/instances/web/delegations", "direction=up"),
    ],
)
def test_a_parameter_of_a_wrong_type_is_refused(
    ada: Caller, tree: dict[str, HopperInstance], path: str, query: str
) -> None:
    body = assert_problem(ada.get(f"{API}{path}?{query}"), 400)
    assert body["errors"][0]["field"] == query.split("=")[0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", 5), ("title", ""), ("title", "  "), ("title", None), ("title", "x" * 1_000_000),
        ("tags", "web"), ("tags", [1]), ("tags", [""]), ("priority", "top"), ("complexity", 6),
        ("complexity", "3"), ("complexity", True), ("complexity", 2.5), ("context", []),
        ("max_attempts", 0), ("max_runtime_seconds", 0), ("max_runtime_seconds", 604_801),
        ("not_before", "soon"), ("not_before", 5), ("instance_id", "nowhere"),
        ("parent_id", "task-0"), ("depends_on", ["task-0"]), ("executor_preference", "robot"),
        ("not_before", "0001-01-01T00:00:00+14:00"), ("unique_key", ""),
    ],
)  # fmt: skip
def test_a_wrong_field_of_a_task_is_named(
    ada: Caller, tree: dict[str, HopperInstance], field: str, value: Any
) -> None:
    before = rows()
    answer = ada.call("POST", "/tasks", {"title": "x", **{field: value}})
    body = assert_problem(answer, 400)
    assert body["errors"][0]["field"].split(".")[0] == field
    assert rows() == before


@pytest.mark.parametrize("others", [0, 1])
def test_an_unknown_id_in_a_list_is_named_by_its_place(
    ada: Caller, tree: dict[str, HopperInstance], others: int
) -> None:
    wrong = {"title": "x", "instance_id": "nowhere"}
    answer = ada.call("POST", "/tasks/bulk", [{"title": "x"}] * others + [wrong])
    body = assert_problem(answer, 400)
    assert body["errors"][0]["field"] == f"{others}.instance_id"
    assert not Task.objects.exists()


@pytest.mark.parametrize("path", ["/tasks/bulk", "/tasks/complete"])
def test_a_wrong_field_of_the_first_element_is_named_by_its_place(ada: Caller, path: str) -> None:
    body = assert_problem(ada.call("POST", path, [{"colour": "red"}]), 400)
    assert body["errors"][0]["field"] == "0.colour"


def test_claiming_a_task_that_nobody_holds_names_what_is_allowed(ada: Caller) -> None:
    task = ada.tell("/tasks", {"title": "x"}, 201)
    body = ada.tell(f"/tasks/{task['id']}/claim", {"worker": "w"}, 409)
    assert (body["code"], body["state"]) == ("unassigned", "pending")
    (allowed,) = body["allowed"]
    ada.tell(f"/tasks/{task['id']}/status", {"status": allowed})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", 5), ("name", ""), ("name", "x" * 201), ("scope", "galaxy"), ("scope", None),
        ("id", "Not A Slug"), ("id", "x" * 101), ("id", ""), ("parent_id", "nowhere"),
        ("config", []), ("config", {"max_concurrent_tasks": "many"}), ("runtime_metadata", 5),
        ("expires_at", "never"), ("instance_type", "forever"), ("description", None),
    ],
)  # fmt: skip
def test_a_wrong_field_of_an_instance_is_named(
    ada: Caller, tree: dict[str, HopperInstance], field: str, value: Any
) -> None:
    before = rows()
    answer = ada.call("POST", "/instances", {"name": "x", "scope": "GLOBAL", **{field: value}})
    body = assert_problem(answer, 400)
    assert body["errors"][0]["field"].split(".")[0] == field
    assert rows() == before


def test_a_wrong_key_of_config_is_named_by_its_path(ada: Caller) -> None:
    config = {"max_concurrent_tasks": "many"}
    answer = ada.call("POST", "/instances", {"name": "x", "scope": "GLOBAL", "config": config})
    body = assert_problem(answer, 400)
    assert body["errors"][0]["field"] == "config.max_concurrent_tasks"


def test_a_task_as_read_can_be_sent_back(ada: Caller, task: Task) -> None:
    for path in (f"/tasks/{task.pk}", "/instances/web"):
        read = ada.ask(path)
        answer = ada.call("PUT", path, read)
        assert answer.status_code == 200, answer.content
        again = answer.json()
        for derived in ("updated_at", "waiting_on", *REPORT):
            read.pop(derived, None), again.pop(derived, None)
        assert again == read


@override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=1000)
def test_a_body_over_the_limit_is_refused(ada: Caller) -> None:
    body = json.dumps({"title": "x", "description": "y" * 2000}).encode()
    assert_problem(raw(ada, "POST", "/tasks", body), 413)
    assert not Task.objects.exists()


class Broken(BytesIO):
    """The body of a client that goes away, or counts its chunks wrongly."""

    def read(self, size: int | None = -1, /) -> bytes:
        raise ValueError("no chunk")


def chunked(client: Caller, body: bytes, **environ: Any) -> Any:
    """Return the answer to a body that comes without its length, as a server passes it on."""
    told = {"wsgi.input": BytesIO(body), "wsgi.input_terminated": True} | environ
    headers = {"transfer-encoding": "chunked"}
    kind = "application/json"
    return client.generic("POST", f"{API}/tasks", content_type=kind, headers=headers, **told)


def test_a_body_in_chunks_is_read_to_its_end(ada: Caller) -> None:
    assert chunked(ada, b'{"title": "x"}').json()["title"] == "x"
    assert_problem(chunked(ada, b'{"title": '), 400)
    with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=10):
        assert_problem(chunked(ada, b'{"title": "x"}'), 413)
    assert_problem(chunked(ada, b'{"title": "x"}', **{"wsgi.input_terminated": False}), 411)
    assert_problem(chunked(ada, b"", **{"wsgi.input": Broken()}), 400)
    assert Task.objects.count() == 1


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE"])
def test_a_method_that_there_is_not_is_named(ada: Caller, method: str) -> None:
    answer = raw(ada, method, "/tasks", b"")
    assert_problem(answer, 405)
    assert "GET" in answer["Allow"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", f"{API}/schema", f"{API}/docs"])
def test_a_read_only_route_refuses_other_methods_in_every_format(path: str) -> None:
    stranger = Caller(enforce_csrf_checks=True, raise_request_exception=False)
    for call in (stranger.post, stranger.options):
        answer = call(path)
        assert_problem(answer, 405)
        assert "GET" in answer["Allow"]


def test_a_time_may_be_written_in_small_letters(ada: Caller, tree: dict[str, Any]) -> None:
    body = {"title": "x", "not_before": "2030-01-01t00:00:00z"}
    task = ada.tell("/tasks", body, 201)
    assert task["not_before"] == "2030-01-01T00:00:00Z"
    assert ada.ask("/tasks", created_before="2130-01-01t00:00:00z")["count"] == 1


def test_only_json_is_answered(ada: Caller) -> None:
    assert_problem(ada.get(f"{API}/tasks", headers={"accept": "text/html"}), 406)


@pytest.mark.parametrize("path", ["/nowhere", "/api/v1/nowhere", "/api/v2", "/api/v1/tasks/a/b/c"])
def test_an_address_that_leads_nowhere_is_a_problem_too(nobody: Caller, path: str) -> None:
    assert_problem(nobody.get(path), 404)


@pytest.mark.parametrize("path", ["/instances", "/tasks", "/status", "/instances/web"])
def test_a_trailing_slash_changes_nothing(
    ada: Caller, tree: dict[str, HopperInstance], path: str
) -> None:
    plain, slashed = ada.get(f"{API}{path}"), ada.get(f"{API}{path}/")
    assert plain.status_code == slashed.status_code == 200
    assert plain.json() == slashed.json()


def test_an_internal_error_reveals_nothing(ada: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("the secret")

    monkeypatch.setattr("instances.api.task_views.shown_tasks", fail)
    answer = ada.get(f"{API}/tasks")
    body = assert_problem(answer, 500)
    assert "secret" not in json.dumps(body)
    connection.close()


def test_the_request_id_is_echoed_or_made(nobody: Caller) -> None:
    assert nobody.get("/healthz", headers={"x-request-id": "abc-1"})["X-Request-ID"] == "abc-1"
    made = nobody.get("/healthz", headers={"x-request-id": "a b\u00ff"})["X-Request-ID"]
    assert len(made) == 16
