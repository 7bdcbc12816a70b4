"""A token at a wrong place of a request stands neither in the answer nor in the log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth import get_user_model

from hopper.logs import JsonFormatter, TextFormatter
from instances.models import AgentToken
from instances.tasks.worker import claim_task
from tests.api.conftest import API
from tests.factories import ALICE, TaskFactory

if TYPE_CHECKING:
    from instances.models import HopperInstance
    from tests.api.conftest import Caller

PLACES: dict[str, tuple[str, str, Any, dict[str, str]]] = {
    "field": ("POST", "/tasks", {"title": "x", "SECRET": 1}, {}),
    "field in a list": ("POST", "/tasks/bulk", [{"title": "x", "SECRET": 1}], {}),
    "field given twice": ("POST", "/tasks", '{"SECRET": 1, "SECRET": 2}', {}),
    "long field": ("POST", "/tasks", {"title": "x", "x" * 60 + " SECRET": 1}, {}),
    "word": ("POST", "/tasks", {"title": "x", "priority": "SECRET"}, {}),
    "tag": ("POST", "/tasks", {"title": "x", "tags": "SECRET"}, {}),
    "instance": ("POST", "/tasks", {"title": "x", "instance_id": "SECRET"}, {}),
    "parent": ("POST", "/tasks", {"title": "x", "parent_id": "SECRET"}, {}),
    "predecessor": ("POST", "/tasks", {"title": "x", "depends_on": ["SECRET"]}, {}),
    "scope": ("POST", "/instances", {"name": "x", "scope": "SECRET"}, {}),
    "id": ("POST", "/instances", {"name": "x", "scope": "GLOBAL", "id": "SECRET!"}, {}),
    "setting": ("PATCH", "/instances/web", {"config": {"accept": "SECRET"}}, {}),
    "target": ("POST", "/tasks/TASK/delegate", {"target_instance_id": "SECRET"}, {}),
    "status": ("POST", "/tasks/TASK/status", {"status": "SECRET"}, {}),
    "worker": ("POST", "/tasks/TASK/claim", {"worker": "SECRET", "lease_seconds": 0}, {}),
    "lease": ("POST", "/tasks/TASK/complete", {"token": "SECRET!"}, {}),
    "question": ("POST", "/tasks/TASK/answer", {"question_id": "SECRET", "answer": "x"}, {}),
    "kind": ("POST", "/webhooks", {"url": "https://a.example/", "kinds": ["SECRET"]}, {}),
    "lesson": ("POST", "/lessons", {"title": "x", "task_id": "SECRET"}, {}),
    "parameter": ("GET", "/tasks?SECRET=1", None, {}),
    "status filter": ("GET", "/tasks?status=SECRET", None, {}),
    "ordering": ("GET", "/tasks?ordering=SECRET", None, {}),
    "cursor": ("GET", "/tasks?cursor=SECRET", None, {}),
    "limit": ("GET", "/tasks?limit=SECRET", None, {}),
    "feed": ("GET", "/events?after=SECRET", None, {}),
    "task": ("GET", "/tasks/SECRET", None, {}),
    "verb": ("POST", "/tasks/TASK/SECRET", {}, {}),
    "address": ("GET", "/SECRET/x", None, {}),
    "method": ("SECRET", "/tasks", None, {}),
    "If-Match": ("PATCH", "/tasks/TASK", {"title": "y"}, {"If-Match": "SECRET"}),
    "differing": ("PATCH", "/tasks/TASK", {"title": "SECRET"}, {"If-Match": '"0"'}),
    "Accept": ("GET", "/tasks", None, {"Accept": "SECRET"}),
    "Content-Type": ("POST", "/tasks", "{}", {"Content-Type": "text/SECRET"}),
    "Authorization": ("GET", "/tasks", None, {"Authorization": "Bearer x SECRET"}),
    "wrong token": ("GET", "/tasks", None, {"Authorization": "Bearer SECRETx"}),
    "wrong lease": ("GET", "/tasks", None, {"Authorization": "Lease SECRET x"}),
    "Idempotency-Key": ("POST", "/tasks", {"title": ""}, {"Idempotency-Key": "SECRET" * 9}),
    "X-Request-ID": ("GET", "/nothing", None, {"X-Request-ID": "SECRET"}),
    "traceparent": ("GET", "/nothing", None, {"Traceparent": "SECRET"}),
    "Host": ("GET", "/tasks", None, {"Host": "SECRET"}),
    "Origin": ("POST", "/tasks", {"title": ""}, {"Origin": "SECRET"}),
}  # fmt: skip


def test_a_secret_at_a_wrong_place_is_not_repeated(
    ada: Caller,
    nobody: Caller,
    tree: dict[str, HopperInstance],
    caplog: pytest.LogCaptureFixture,
    subtests: pytest.Subtests,
) -> None:
    task = TaskFactory(instance=tree["web-run"])
    lease = str(claim_task(task.pk, worker="w", actor=ALICE).token)
    account = get_user_model().objects.create_user("eve")
    _, token = AgentToken.objects.create(account, name="eve", role="viewer")
    caplog.set_level("INFO")
    for place, (method, path, body, headers) in PLACES.items():
        for secret in (lease, token):
            words = {"SECRET": secret, "TASK": task.pk}
            text = body if isinstance(body, str) else "" if body is None else json.dumps(body)
            given = {name: _put(value, words) for name, value in headers.items()}
            caplog.clear()
            answer = (nobody if "Authorization" in given else ada).generic(
                _put(method, words),
                _put(f"{API}{path}", words),
                _put(text, words),
                given.get("Content-Type", "application/json"),
                headers=given,
            )
            said = [answer.content.decode(), str(answer.headers)]
            for formatter in (TextFormatter("%(message)s"), JsonFormatter()):
                said += map(formatter.format, caplog.records)
            with subtests.test(place, secret=secret):
                assert answer.status_code >= 400
                assert [line for line in said if secret.lower() in line.lower()] == []


def _put(text: str, words: dict[str, str]) -> str:
    """Return the text with the words in the place of their names."""
    for name, word in words.items():
        text = text.replace(name, word)
    return text


def test_a_clash_of_names_repeats_no_secret(ada: Caller) -> None:
    body = {"name": "hop_0123456789abcdef", "scope": "GLOBAL"}
    ada.tell("/instances", body, 201)
    assert "***" in ada.tell("/instances", {**body, "id": "other"}, 409)["detail"]
