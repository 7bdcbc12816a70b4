"""`GET /tasks/{id}/questions?wait=`: the answer comes as soon as no question is open (R11)."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection
from django.test import AsyncClient

from hopper.serving import long_poll
from instances.models import AgentToken, HopperInstance
from instances.tasks.questions import NewQuestion, answer_question, ask
from tests.api.conftest import API, Caller
from tests.factories import ALICE, TaskFactory

if TYPE_CHECKING:
    from collections.abc import Callable

    from instances.models import Task

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def asked(tree: dict[str, HopperInstance]) -> Task:
    """A task with an open question."""
    task = TaskFactory(instance=tree["web-run"])
    return ask(task.pk, NewQuestion("MIT or Apache?"), actor=ALICE)


def _answer(task: Task) -> None:
    question = task.questions.get()
    answer_question(task.pk, question.pk, answer="MIT", back=True, actor=ALICE)


class Clock:
    """Time that passes only while somebody sleeps; `meanwhile` is called in the first sleep."""

    def __init__(self, meanwhile: Callable[[], Any] = lambda: None) -> None:
        self.now, self.slept, self.meanwhile = 0.0, 0, meanwhile
        self.held: list[bool] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.held.append(connection.connection is not None)
        self.now += seconds
        self.slept += 1
        if self.slept == 1:
            self.meanwhile()


def _states(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [row["state"] for row in answer.json()["results"]]


def test_the_answer_ends_the_wait(
    ada: Caller, asked: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(lambda: _answer(asked))
    monkeypatch.setattr(long_poll, "time", clock)
    assert _states(ada.call("GET", f"/tasks/{asked.pk}/questions?wait=25")) == ["answered"]
    assert (clock.slept, clock.held) == (1, [False])


def test_without_an_answer_the_wait_ends_after_its_time(
    ada: Caller, asked: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(long_poll, "time", clock)
    assert _states(ada.call("GET", f"/tasks/{asked.pk}/questions?wait=3")) == ["open"]
    assert clock.now == 3
    clock.now = 0
    assert _states(ada.call("GET", f"/tasks/{asked.pk}/questions?wait=25")) == ["open"]
    # A thread of a synchronous server waits for less.
    assert clock.now == long_poll.MAX_SECONDS_WSGI


def test_a_token_that_is_revoked_meanwhile_gets_no_answer(
    ada: Caller, asked: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def revoke() -> None:
        AgentToken.objects.all().delete()
        _answer(asked)

    monkeypatch.setattr(long_poll, "time", Clock(revoke))
    assert ada.call("GET", f"/tasks/{asked.pk}/questions?wait=25").status_code == 401


def test_waiting_needs_an_open_question_and_a_request_to_wait(
    ada: Caller, asked: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(long_poll, "time", clock)
    assert _states(ada.call("GET", f"/tasks/{asked.pk}/questions")) == ["open"]
    _answer(asked)
    assert _states(ada.call("GET", f"/tasks/{asked.pk}/questions?wait=25")) == ["answered"]
    assert clock.slept == 0


def test_few_threads_of_a_process_wait(
    ada: Caller, asked: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(long_poll, "time", clock)
    for _ in range(long_poll.AT_ONCE_WSGI):
        assert long_poll._threads.acquire(blocking=False)
    try:
        assert _states(ada.call("GET", f"/tasks/{asked.pk}/questions?wait=25")) == ["open"]
    finally:
        long_poll._threads.release(long_poll.AT_ONCE_WSGI)
    assert clock.slept == 0


@pytest.mark.parametrize("wait", ["26", "-1", "1.5", "soon"])
def test_a_wait_out_of_bounds_is_refused(ada: Caller, asked: Task, wait: str) -> None:
    answer = ada.call("GET", f"/tasks/{asked.pk}/questions?wait={wait}")
    assert answer.status_code == 400
    assert "wait: must be an integer from 0 to 25" in answer.json()["detail"]


def test_under_asgi_the_event_loop_waits(
    ada: Caller, asked: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = ada._credentials["HTTP_AUTHORIZATION"]
    slept: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await sync_to_async(_answer)(asked)
        await real(0)

    async def read() -> Any:
        path = f"{API}/tasks/{asked.pk}/questions?wait=25"
        answer = await AsyncClient().get(path, headers={"Authorization": token})
        assert answer.streaming
        return json.loads(b"".join([part async for part in answer]))

    monkeypatch.setattr(long_poll.asyncio, "sleep", sleep)
    body = async_to_sync(read)()
    assert [row["state"] for row in body["results"]] == ["answered"]
    assert slept == [long_poll.LOOK_SECONDS]
