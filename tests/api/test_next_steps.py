"""A refused change of a task advises a step that the task can take in its present state."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from hopper.protocol import TASK
from instances.lifecycle.actions import update_instance
from instances.models import HopperInstance, Task
from instances.tasks.questions import NewQuestion, ask
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_task, complete_task, fail_task
from tests.factories import ALICE, TaskFactory

if TYPE_CHECKING:
    from tests.api.conftest import Caller

STATUSES = tuple(TASK.transitions)
Tree = dict[str, HopperInstance]


def _made(tree: Tree, begin: Callable[[str], Any]) -> str:
    task = TaskFactory(instance=tree["web-run"])
    begin(task.pk)
    return str(task.pk)


def _failed(pk: str) -> None:
    token = claim_task(pk, worker="w", actor=ALICE).token
    fail_task(pk, token=token, error="no", retryable=False, actor=ALICE)


def _done(pk: str) -> None:
    complete_task(pk, token=claim_task(pk, worker="w", actor=ALICE).token, actor=ALICE)


def _leased(pk: str) -> None:
    claim_task(pk, worker="w", actor=ALICE)


def _by_hand(status: str) -> Callable[[str], Any]:
    return lambda pk: set_status(pk, status=status, actor=ALICE)


STATES: dict[str, tuple[str, Callable[[Tree], str]]] = {
    "pending": ("pending", lambda tree: _made(tree, str)),
    "unassigned": ("pending", lambda tree: str(TaskFactory().pk)),
    "leased": ("claimed", lambda tree: _made(tree, _leased)),
    "by hand": ("in_progress", lambda tree: _made(tree, _by_hand("in_progress"))),
    "blocked": ("blocked", lambda tree: _made(tree, _by_hand("blocked"))),
    "asked": (
        "blocked",
        lambda tree: _made(tree, lambda pk: ask(pk, NewQuestion("why?"), actor=ALICE)),
    ),
    "parent": (
        "in_progress",
        lambda tree: _made(tree, lambda pk: TaskFactory(instance=tree["web-run"], parent_id=pk)),
    ),
    "done": ("done", lambda tree: _made(tree, _done)),
    "failed": ("failed", lambda tree: _made(tree, _failed)),
    "cancelled": ("cancelled", lambda tree: _made(tree, _by_hand("cancelled"))),
}
VERBS: dict[str, dict[str, Any]] = {
    "start": {}, "complete": {"result": "r"}, "fail": {"error": "e"}, "release": {},
    "claim": {"worker": "other"}, "heartbeat": {"token": "1.wrong"}, "cancel": {"reason": "r"},
    "retry": {}, "discard": {}, "ask": {"question": "how?"}, "route": {}, "escalate": {},
    "delegate": {"target_instance_id": "web-run"}, "decompose": {"children": [{"title": "c"}]},
    "answer": {"question_id": "q-none", "answer": "a"}, "edit": {"title": "new"},
}  # fmt: skip


def test_every_status_is_asked() -> None:
    assert {status for status, _ in STATES.values()} == set(TASK.transitions)


@pytest.mark.parametrize("state", STATES)
def test_the_advice_of_a_refusal_can_be_followed(
    ada: Caller, tree: Tree, state: str, subtests: pytest.Subtests
) -> None:
    update_instance("web-run", changes={"config": {"max_concurrent_tasks": 99}}, actor=ALICE)
    status, make = STATES[state]
    for verb, body in VERBS.items():
        with subtests.test(verb):
            pk = make(tree)
            assert Task.objects.get(pk=pk).status == status
            method, path = ("PATCH", "") if verb == "edit" else ("POST", f"/{verb}")
            answer = ada.call(method, f"/tasks/{pk}{path}", body)
            if answer.status_code != 409:
                continue
            refusal = answer.json()
            for call, body in _advised(refusal["detail"], pk):
                followed = ada.call("POST", call, body)
                assert followed.status_code == 200, followed.content
                assert followed.json()["status"] in refusal.get("allowed", STATUSES)


@pytest.mark.parametrize(
    "verb",
    [
        *("complete", "fail", "release", "start", "edit", "ask", "claim"),
        *("route", "delegate", "escalate", "decompose"),
    ],
)
@pytest.mark.parametrize("state", ["done", "failed", "cancelled"])
def test_after_an_end_a_retry_is_the_first_step(
    ada: Caller, tree: Tree, state: str, verb: str
) -> None:
    pk = STATES[state][1](tree)
    method, path = ("PATCH", "") if verb == "edit" else ("POST", f"/{verb}")
    answer = ada.call(method, f"/tasks/{pk}{path}", VERBS[verb])
    assert answer.status_code == 409
    detail = answer.json()["detail"]
    if answer.json()["code"] != "already_ended":
        assert "retry it first" in detail
        assert answer.json().get("allowed", ["pending"]) == ["pending"]


def _advised(detail: str, pk: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the calls that a refusal advises."""
    calls: list[tuple[str, dict[str, Any]]] = []
    if "retry it" in detail:
        calls.append((f"/tasks/{pk}/retry", {}))
    if "claim it" in detail:
        calls.append((f"/tasks/{pk}/claim", {"worker": "adviser"}))
    if found := re.search(r"answer (q-\S+) first", detail):
        calls.append((f"/tasks/{pk}/answer", {"question_id": found[1], "answer": "so"}))
    if found := re.search(r"set its status to (\w+)", detail):
        calls.append((f"/tasks/{pk}/status", {"status": found[1]}))
    return calls
