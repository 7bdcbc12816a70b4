"""The form of answers: compressed, cached, and problems for what has another name or length."""

from __future__ import annotations

import gzip
import logging

import pytest
import yaml
from django.contrib.auth import get_user_model
from django.db import OperationalError
from django.http import HttpResponse
from django.test import Client, RequestFactory

from hopper.database import engine
from hopper.logs import TextFormatter
from hopper.rest.compression import compress
from tests.api.conftest import API, Caller

pytestmark = [pytest.mark.unmeasured, pytest.mark.django_db]
ASKS = {"HTTP_ACCEPT_ENCODING": "br;q=1.0, gzip;q=0.8"}


def test_the_schema_is_compressed_and_asked_for_once(client: Client) -> None:
    first = client.get(f"{API}/schema", **ASKS)
    assert first["Content-Encoding"] == "gzip"
    assert len(first.content) < 100_000
    assert yaml.safe_load(gzip.decompress(first.content))["openapi"].startswith("3.")
    plain = client.get(f"{API}/schema")
    assert "Content-Encoding" not in plain
    assert plain["ETag"] == first["ETag"]
    again = client.get(f"{API}/schema", headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_schema_is_drawn_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.get(f"{API}/schema", headers={"Accept": "application/json"})
    monkeypatch.setattr("hopper.rest.schema_view.SchemaGenerator", None)
    found = client.get(f"{API}/schema", headers={"Accept": "application/json"})
    assert found.json()["openapi"].startswith("3.")


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [("gzip", True), ("*", True), ("GZIP", True), ("gzip;q=0", False), ("br", False), ("", False)],
)
def test_a_long_answer_is_compressed_for_those_who_take_it(
    ada: Caller, accepted: str, compressed: bool
) -> None:
    request = RequestFactory().get(f"{API}/tasks", HTTP_ACCEPT_ENCODING=accepted)
    answer = HttpResponse(b"x" * 2000)
    compress(request, answer)
    assert ("Content-Encoding" in answer) is compressed
    assert "Accept-Encoding" in answer["Vary"]
    content = gzip.decompress(answer.content) if compressed else answer.content
    assert content == b"x" * 2000


def test_a_short_answer_and_one_for_a_session_are_not(client: Client) -> None:
    answer = HttpResponse(b"x" * 1024)
    compress(RequestFactory().get("/", **ASKS), answer)
    assert "Content-Encoding" not in answer
    client.force_login(get_user_model().objects.create_superuser("root"))
    assert "Content-Encoding" not in client.get(f"{API}/schema", **ASKS)


def test_a_client_that_accepts_problems_gets_json(ada: Caller) -> None:
    answer = ada.get(f"{API}/tasks", HTTP_ACCEPT="application/problem+json")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")
    refused = ada.get(f"{API}/tasks/none", HTTP_ACCEPT="application/problem+json")
    assert (refused.status_code, refused["Content-Type"]) == (404, "application/problem+json")
    assert ada.get(f"{API}/tasks", HTTP_ACCEPT="text/html").status_code == 406


def test_another_host_and_a_long_address_are_problems(ada: Caller) -> None:
    wrong = ada.get(f"{API}/tasks", HTTP_HOST="elsewhere.example")
    assert (wrong.status_code, wrong.json()["code"]) == (400, "wrong_host")
    assert "HOPPER_ALLOWED_HOSTS" in wrong.json()["detail"]
    long = ada.get(f"{API}/tasks?cursor={'x' * 20_000}")
    assert (long.status_code, long.json()["code"]) == (414, "address_too_long")
    assert long["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("length", [1_001, 20_000, 60_000])
def test_a_text_that_is_too_long_is_named_however_long_the_address_is(
    ada: Caller, length: int
) -> None:
    refused = ada.get(f"{API}/tasks?limit=1&search={'x' * length}")
    assert refused.status_code == 400
    (error,) = refused.json()["errors"]
    assert (error["field"], error["code"]) == ("search", "max_length")


def test_a_wrong_host_is_one_line_in_the_log(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    client.get("/api/v1/tasks", headers={"Host": "evil.example"})
    found = [record for record in caplog.records if record.name.endswith("DisallowedHost")]
    assert [record.exc_info for record in found] == [None]


def test_an_outage_of_the_database_is_one_log_line(
    nobody: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise OperationalError("connection failed\nall attempts failed:\n- host: a")

    for name in ("hopper.rest.problem", "django.request"):
        # A command that ran in this process has silenced both.
        monkeypatch.setattr(logging.getLogger(name), "filters", [])
    monkeypatch.setattr(type(engine()), "is_outage", lambda *_: True)
    monkeypatch.setattr("hopper.rest.auth.LeaseAuthentication.authenticate", fails)
    answer = nobody.call("GET", "/tasks")
    assert answer.status_code == 503
    lines = [TextFormatter("%(name)s %(message)s").format(one) for one in caplog.records]
    assert len("\n".join(lines).splitlines()) == 1
    assert "database unavailable: connection failed all attempts failed: - host: a" in lines[0]
