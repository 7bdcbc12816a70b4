"""Dead letters are listed until a person retries or discards them (R15)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from instances.models import HopperInstance
    from tests.api.conftest import Caller

Tree = dict[str, "HopperInstance"]


@pytest.fixture
def dead(ada: Caller, tree: Tree) -> str:
    """A task that failed twice and was given up."""
    body = {"title": "t", "instance_id": "web-run", "max_attempts": 1}
    pk: str = ada.tell("/tasks", body, status=201)["id"]
    token = ada.tell(f"/tasks/{pk}/claim", {"worker": "bob"})["lease"]["token"]
    ada.tell(f"/tasks/{pk}/fail", {"token": token, "error": "no disk"})
    return pk


def _listed(ada: Caller, **params: Any) -> list[str]:
    rows = ada.ask("/tasks", dead_letter="true", **params)["results"]
    return [row["id"] for row in rows]


def test_a_dead_letter_is_listed_with_its_attempts_and_its_last_error(
    ada: Caller, dead: str
) -> None:
    (row,) = ada.ask("/tasks", dead_letter="true")["results"]
    assert (row["id"], row["status"], row["attempt"]) == (dead, "failed", 1)
    assert (row["error"], row["discarded_at"]) == ("no disk", None)
    (attempt,) = ada.ask(f"/tasks/{dead}/attempts")["results"]
    assert (attempt["outcome"], attempt["error"]) == ("failed", "no disk")
    assert _listed(ada, under="web") == [dead]
    assert _listed(ada, under="ops") == []


def test_a_discarded_task_stays_failed_and_needs_no_attention(ada: Caller, dead: str) -> None:
    other = ada.tell("/tasks", {"title": "o", "instance_id": "web-run"}, status=201)["id"]
    assert ada.ask("/status")["attention"]["failed"] == 1
    discarded = ada.tell(f"/tasks/{dead}/discard", {"reason": "obsolete"})
    assert (discarded["status"], bool(discarded["discarded_at"])) == ("failed", True)
    assert _listed(ada) == []
    alive = ada.ask("/tasks", dead_letter="false")["results"]
    assert {row["id"] for row in alive} == {dead, other}
    shown = ada.ask("/status")
    assert shown["attention"]["failed"] == 0
    assert shown["tasks"]["by_status"]["failed"] == 1
    again = ada.tell(f"/tasks/{dead}/discard")
    assert again["discarded_at"] == discarded["discarded_at"]
    kinds = [row["kind"] for row in ada.ask(f"/tasks/{dead}/events")["results"]]
    assert kinds.count("task.discarded") == 1


def test_a_retry_brings_back_even_what_was_discarded(ada: Caller, dead: str) -> None:
    ada.tell(f"/tasks/{dead}/discard")
    task = ada.tell(f"/tasks/{dead}/retry")
    assert (task["status"], task["discarded_at"]) == ("pending", None)
    token = ada.tell(f"/tasks/{dead}/claim", {"worker": "bob"})["lease"]["token"]
    ada.tell(f"/tasks/{dead}/fail", {"token": token, "error": "again", "retryable": False})
    assert _listed(ada) == [dead]


def test_only_what_failed_can_be_discarded_and_only_by_an_operator(
    ada: Caller, dead: str, caller: Callable[..., Caller], tree: Tree
) -> None:
    pk = ada.tell("/tasks", {"title": "o", "instance_id": "web-run"}, status=201)["id"]
    refusal = ada.tell(f"/tasks/{pk}/discard", status=409)
    assert (refusal["code"], refusal["state"]) == ("not_failed", "pending")
    worker = caller("wes", "worker", tree["web-run"])
    worker.tell(f"/tasks/{dead}/discard", status=403)
    caller("oda", "operator", tree["web"]).tell(f"/tasks/{dead}/discard")


def test_a_discard_has_no_preview(ada: Caller, dead: str) -> None:
    refusal = ada.tell(f"/tasks/{dead}/discard", {"preview": True}, status=400)
    assert [error["field"] for error in refusal["errors"]] == ["preview"]
    assert _listed(ada) == [dead]
