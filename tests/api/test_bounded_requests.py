"""A request costs at most a small multiple of its size, and what it says is taken or refused."""

from __future__ import annotations

import gzip
import time
import tracemalloc
from typing import Any

import pytest

from hopper.rest.auth import OpenAuthentication
from instances.api.instance_views import InstanceViewSet
from instances.models import HopperInstance, Task
from tests.api.conftest import API, Caller
from tests.factories import InstanceFactory, TaskFactory

pytestmark = pytest.mark.django_db

DEEP_KEYS = b'{"' + b"k" * 2000 + b'":'
HOSTILE = {
    "many small elements": b'{"title": "x", "context": {"a": [' + b"0," * 100_000 + b"0]}}",
    "long names deep down": (
        b'{"title":"x","context":' + DEEP_KEYS * 90 + b"[" + b"0," * 10_000 + b'"\\u0000"]'
        + b"}" * 90 + b"}"
    ),
    "many unknown fields": b"{"
    + b",".join(b'"field%d":1' % number for number in range(50_000))
    + b"}",
    "too many elements": b'{"title": "x", "context": {"a": [' + b"[]," * 900_000 + b"0]}}",
    "nested too deeply": b'{"title":"x","context":' + b'{"a":' * 5000 + b"1" + b"}" * 5001,
    "commas in a text": b'{"title": "x", "description": "' + b"," * 500_000 + b'"}',
}  # fmt: skip

LEGAL = ("many small elements", "commas in a text")


def _post(caller: Caller, path: str, body: bytes) -> Any:
    return caller.generic("POST", f"{API}{path}", body, content_type="application/json")


@pytest.mark.unmeasured  # Other tests refuse and read bodies; these are large.
@pytest.mark.parametrize("name", HOSTILE)
def test_a_body_takes_memory_in_proportion_and_gets_a_small_answer(ada: Caller, name: str) -> None:
    body = HOSTILE[name]
    tracemalloc.start()
    began = time.process_time()
    answer = _post(ada, "/tasks", body)
    took = time.process_time() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status_code == (
        201 if name in ("many small elements", "commas in a text") else 400
    )
    assert peak < 20_000_000 + 12 * len(body)
    assert took < 10
    if answer.status_code == 400:
        assert len(answer.content) < 64_000
        assert len(answer.json().get("errors", ())) <= 20


def test_a_refusal_names_twenty_errors_and_counts_the_others(ada: Caller) -> None:
    tasks = [{"title": ""} for _ in range(100)]
    answer = ada.call("POST", "/tasks/bulk", tasks)
    assert answer.status_code == 400
    assert len(answer.json()["errors"]) == 20
    assert answer.json()["more_errors"] == 80


def test_a_key_that_stands_twice_is_refused(ada: Caller) -> None:
    answer = _post(ada, "/tasks", b'{"title": "one", "title": "two"}')
    assert answer.status_code == 400
    assert "the key 'title' is given twice" in answer.json()["detail"]
    assert not Task.objects.exists()


def test_a_delete_with_a_body_is_refused_and_nothing_ends(ada: Caller) -> None:
    web = InstanceFactory(name="web", scope="PROJECT")
    answer = ada.call("DELETE", f"/instances/{web.pk}", {"preview": True})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "body"
    assert HopperInstance.objects.get(pk=web.pk).status == "running"
    assert ada.call("DELETE", f"/instances/{web.pk}").status_code == 204


def test_a_delete_with_an_empty_object_is_taken_for_one_without_a_body(ada: Caller) -> None:
    web = InstanceFactory(name="web", scope="PROJECT")
    assert ada.call("DELETE", f"/instances/{web.pk}", {}).status_code == 204
    assert HopperInstance.objects.get(pk=web.pk).status == "terminated"


def test_a_get_with_a_body_is_refused_and_an_empty_object_is_no_body(ada: Caller) -> None:
    for body, status in ((b'{"status": "done"}', 400), (b"[]", 400), (b"{ }", 200), (b"", 200)):
        for path in ("/tasks", "/instances", "/me"):
            kind = "text/plain" if path == "/me" else "application/json"
            answer = ada.generic("GET", f"{API}{path}", body, kind)
            assert answer.status_code == status, answer.content
    assert "a GET takes no body" in answer_of(ada, "GET", "/tasks", b'{"status": "done"}')


def answer_of(ada: Caller, method: str, path: str, body: bytes, **headers: str) -> str:
    """Return the detail of a refusal."""
    answer = ada.generic(method, f"{API}{path}", body, "application/json", headers=headers)
    assert answer.status_code >= 400, answer.content
    return str(answer.json()["detail"])


def test_a_compressed_body_is_refused_in_words(ada: Caller) -> None:
    body = gzip.compress(b'{"title": "x"}')
    answer = ada.generic(
        "POST", f"{API}/tasks", body, "application/json", headers={"Content-Encoding": "gzip"}
    )
    assert answer.status_code == 415
    assert "Content-Encoding: gzip is not taken" in answer.json()["detail"]
    made = ada.generic(
        "POST", f"{API}/tasks", b'{"title": "x"}', "application/json",
        headers={"Content-Encoding": "identity"},
    )  # fmt: skip
    assert made.status_code == 201


def test_a_body_that_no_parser_reads_is_refused_in_plain_words(ada: Caller) -> None:
    mark = answer_of(ada, "POST", "/tasks", b'\xef\xbb\xbf{"title": "x"}')
    assert "begins with a byte order mark: leave it out" in mark
    digits = answer_of(ada, "POST", "/tasks", b'{"complexity": %s}' % (b"9" * 5000))
    assert "integers go from" in digits
    assert "set_int_max_str_digits" not in digits
    none = answer_of(ada, "POST", "/tasks", b'{"title": "x"}', **{"If-None-Match": "*"})
    assert none == "If-None-Match: only a GET takes it; a change takes If-Match"
    assert not Task.objects.exists()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/instances/web?preview=true&preview=false"),
        ("GET", "/instances?scope=GLOBAL&scope=PROJECT"),
        ("GET", "/tasks?project=a&project=b"),
        ("GET", "/tasks?limit=1&limit=2"),
    ],
)
def test_a_parameter_that_means_one_value_is_given_once(
    ada: Caller, method: str, path: str
) -> None:
    InstanceFactory(name="web", scope="PROJECT")
    answer = ada.call(method, path)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["code"] == "repeated"
    assert HopperInstance.objects.get(pk="web").status == "running"


@pytest.mark.parametrize(
    "query", ["status=pending&status=done", "tags=a&tags=b", "priority=low&priority=high"]
)
def test_a_parameter_of_several_choices_may_be_repeated(ada: Caller, query: str) -> None:
    TaskFactory(instance=None, tags=["a"], priority="low")
    assert ada.call("GET", f"/tasks?{query}").json()["count"] == 1


@pytest.mark.parametrize(
    "given",
    ["2026-12-01", "2026-12-01T08:00:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "now", 7],
)
def test_a_time_without_an_offset_or_out_of_range_is_refused(ada: Caller, given: Any) -> None:
    answer = ada.call("POST", "/tasks", {"title": "later", "not_before": given})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "not_before"
    assert "such as 2026-12-01T08:00:00Z" in answer.json()["detail"]


@pytest.mark.parametrize(
    "given",
    ["2026-12-01T08:00:00Z", "2999-12-31T23:59:59.123456789+14:00", "2026-12-01t08:00:00.5-05:30"],
)
def test_a_time_with_its_offset_is_taken(ada: Caller, given: str) -> None:
    assert ada.call("POST", "/tasks", {"title": "later", "not_before": given}).status_code == 201


@pytest.mark.parametrize("path", ["/admin/instances/task/?q=%00", "/admin/%00/"])
def test_a_nul_in_another_address_is_refused(ada: Caller, path: str) -> None:
    assert ada.get(path).status_code == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 415),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "application/json"}, 200),
        ({"content_type": "application/json", "Origin": "https://evil.example"}, 403),
        ({"content_type": "application/json", "Origin": "null"}, 403),
        ({"content_type": "application/json", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"content_type": "application/json", "Sec-Fetch-Site": "same-site"}, 403),
        ({"content_type": "application/json", "Origin": "http://testserver"}, 200),
    ],
)
def test_without_credentials_no_other_site_changes_anything(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], status: int
) -> None:
    monkeypatch.setattr(InstanceViewSet, "authentication_classes", [OpenAuthentication])
    InstanceFactory(name="web", scope="PROJECT")
    kind = headers.get("content_type", "")
    others = {name: value for name, value in headers.items() if name != "content_type"}
    answer = Caller(raise_request_exception=False).generic(
        "POST", f"{API}/instances/web/stop", b"{}" if kind else b"", content_type=kind,
        headers=others,
    )  # fmt: skip
    assert answer.status_code == status
    expected = "stopped" if status == 200 else "running"
    assert HopperInstance.objects.get(pk="web").status == expected
