"""`POST /instances/{id}/claim?wait=`: the answer comes as soon as there is a task (R22)."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.test import AsyncClient

from hopper.serving import long_poll
from instances.api import instance_views
from instances.lifecycle.actions import pause_instance
from instances.models import Attempt, HopperInstance, IdempotencyRecord, Task
from instances.tasks import wakeups
from instances.tasks.worker import claim_next
from tests.api.conftest import API, Caller
from tests.api.test_waiting_for_an_answer import Clock
from tests.factories import ALICE, TaskFactory

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.django_db(transaction=True)

CLAIM = "/instances/web-run/claim"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look every 20 ms instead of every second."""
    monkeypatch.setattr(long_poll, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(wakeups, "LOOK_SECONDS", 0.02)


async def _claim(ada: Caller, wait: int, **headers: str) -> Any:
    """Claim under ASGI; return the answer, not yet read."""
    token = ada._credentials["HTTP_AUTHORIZATION"]
    return await AsyncClient().post(
        f"{API}{CLAIM}?wait={wait}",
        json.dumps({"worker": "bob"}),
        content_type="application/json",
        headers={"Authorization": token, **headers},
    )


async def _whole(answer: Any) -> Any:
    if not answer.streaming:
        return answer.json()
    return json.loads(b"".join([part async for part in answer]))


def _meanwhile(ada: Caller, act: Callable[[], Any], wait: int = 30, **headers: str) -> Any:
    """Return the body of a claim that waits; `act` runs as soon as it does."""

    async def both() -> Any:
        answer = await _claim(ada, wait, **headers)
        assert answer.streaming
        read = asyncio.ensure_future(_whole(answer))
        await asyncio.sleep(0.05)
        await sync_to_async(act)()
        return await read

    return async_to_sync(both)()


def test_a_task_ends_the_wait(ada: Caller, tree: dict[str, HopperInstance]) -> None:
    body = _meanwhile(ada, lambda: TaskFactory(instance=tree["web-run"]))
    (task,) = body["tasks"]
    assert (task["worker"], task["status"], body["waiting"]) == ("bob", "claimed", None)
    assert task["lease"]["token"]


def test_a_wait_ends_at_once_in_the_process_that_made_the_task_ready(
    ada: Caller, tree: dict[str, HopperInstance], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeups.Wakeups, "look", lambda self: None)
    assert _meanwhile(ada, lambda: TaskFactory(instance=tree["top"], tags=["web"], complexity=5))[
        "tasks"
    ]


def test_a_task_of_another_process_is_found_by_a_look(
    ada: Caller, tree: dict[str, HopperInstance], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = wakeups.WAKEUPS.instance_ids

    def make() -> None:
        with pytest.MonkeyPatch.context() as blind:
            blind.setattr(wakeups.WAKEUPS, "instance_ids", tuple)
            TaskFactory(instance=tree["web-run"])

    assert _meanwhile(ada, make)["tasks"]
    assert real() == []


def test_a_slot_that_becomes_free_ends_the_wait(
    ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    ada.call("PATCH", "/instances/web-run", {"config": {"max_concurrent_tasks": 1}})
    first, second = TaskFactory(instance=tree["web-run"]), TaskFactory(instance=tree["web-run"])
    (task,) = ada.tell(CLAIM, {"worker": "w"})["tasks"]
    assert task["id"] == first.pk
    report = {"token": task["lease"]["token"]}
    body = _meanwhile(ada, lambda: ada.tell(f"/tasks/{first.pk}/complete", report))
    assert [one["id"] for one in body["tasks"]] == [second.pk]


def test_without_a_task_the_answer_says_why(ada: Caller, tree: dict[str, HopperInstance]) -> None:
    body = _meanwhile(ada, lambda: None, wait=1)
    assert (body["tasks"], body["waiting"]["code"]) == ([], "Empty")


def test_an_instance_that_pauses_ends_the_wait(
    ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    def pause() -> None:
        pause_instance("web-run", actor=ALICE)
        wakeups.WAKEUPS.wake(["web-run"])

    assert _meanwhile(ada, pause)["tasks"] == []


def test_a_repeat_under_the_key_gets_the_same_lease(
    ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    key = {"Idempotency-Key": "wait-1"}
    body = _meanwhile(ada, lambda: TaskFactory(instance=tree["web-run"]), **key)
    again = ada.tell(f"{CLAIM}?wait=30", {"worker": "bob"}, **key)
    assert again["tasks"][0]["lease"]["token"] == body["tasks"][0]["lease"]["token"]
    assert Attempt.objects.count() == 1


def test_an_empty_answer_is_not_kept_under_the_key(
    ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    key = {"Idempotency-Key": "wait-2"}
    assert _meanwhile(ada, lambda: None, wait=1, **key)["tasks"] == []
    assert not IdempotencyRecord.objects.exists()
    TaskFactory(instance=tree["web-run"])
    assert ada.tell(f"{CLAIM}?wait=1", {"worker": "bob"}, **key)["tasks"]


@pytest.mark.parametrize("keyed", [False, True])
def test_the_lease_of_a_client_that_left_goes_back(
    ada: Caller, tree: dict[str, HopperInstance], keyed: bool
) -> None:
    async def leave() -> None:
        answer = await _claim(ada, 30, **({"Idempotency-Key": "left"} if keyed else {}))
        parts = answer.streaming_content
        await sync_to_async(TaskFactory)(instance=tree["web-run"])
        assert json.loads(await anext(parts))["tasks"]
        # The server closes an answer whose connection is gone.
        await sync_to_async(answer.close)()

    async_to_sync(leave)()
    (task,) = Task.objects.all()
    # A repeat under the key gets the lease; without a key nobody else knows it.
    assert task.status == ("claimed" if keyed else "pending")
    if not keyed:
        assert task.failures == 0
        assert [one.outcome for one in Attempt.objects.all()] == ["released"]


def test_a_client_that_leaves_during_the_look_strands_no_lease(
    ada: Caller, tree: dict[str, HopperInstance], monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, gone, undone = threading.Event(), threading.Event(), threading.Event()
    real = long_poll._Wait._undo

    def late(wait: Any) -> None:
        gone.set()
        real(wait)
        undone.set()

    async def leave() -> None:
        answer = await _claim(ada, 30)
        await sync_to_async(TaskFactory)(instance=tree["web-run"])
        monkeypatch.setattr(instance_views, "claim_next", _held_up(looking, gone))
        monkeypatch.setattr(long_poll._Wait, "_undo", late)
        reading = asyncio.ensure_future(_whole(answer))
        assert await asyncio.to_thread(looking.wait, 60)
        reading.cancel()
        await asyncio.wait([reading])
        await sync_to_async(answer.close)()
        assert await asyncio.to_thread(undone.wait, 60)

    async_to_sync(leave)()
    assert Task.objects.get().status == "pending"
    assert [one.outcome for one in Attempt.objects.all()] == ["released"]


def _held_up(looking: threading.Event, gone: threading.Event) -> Callable[..., Any]:
    """Return a claim that ends after the client has gone."""

    def claim(*args: Any, **wish: Any) -> Any:
        found = claim_next(*args, **wish)
        looking.set()
        assert gone.wait(60)
        return found

    return claim


def test_a_thread_of_a_synchronous_server_waits_for_less(
    ada: Caller, tree: dict[str, HopperInstance], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_poll, "LOOK_SECONDS", 1.0)
    clock = Clock()
    monkeypatch.setattr(long_poll, "time", clock)
    body = {"worker": "bob"}
    assert ada.tell(f"{CLAIM}?wait=60", body)["tasks"] == []
    assert (clock.now, set(clock.held)) == (long_poll.MAX_SECONDS_WSGI, {False})
    monkeypatch.setattr(long_poll, "time", Clock(lambda: TaskFactory(instance=tree["web-run"])))
    assert ada.tell(f"{CLAIM}?wait=60", body)["tasks"]


@pytest.mark.parametrize("wait", ["61", "-1", "1.5", "soon"])
def test_a_wait_out_of_bounds_is_refused(
    ada: Caller, tree: dict[str, HopperInstance], wait: str
) -> None:
    refused = ada.tell(f"{CLAIM}?wait={wait}", {"worker": "bob"}, 400)
    assert "wait: must be an integer from 0 to 60" in refused["detail"]
