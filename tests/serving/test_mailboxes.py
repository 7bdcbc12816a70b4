"""A claim that waits in one process of a server hears of a task made by another process."""

from __future__ import annotations

import asyncio
import socket
from functools import partial

import pytest

from hopper.serving.mailboxes import MOST_WORDS, Mailboxes
from instances.tasks.wakeups import WAKEUPS, Wakeups
from tests.factories import InstanceFactory, TaskFactory


@pytest.mark.django_db(transaction=True)
def test_a_task_made_here_wakes_a_claim_that_waits_there(monkeypatch: pytest.MonkeyPatch) -> None:
    mailboxes, there = Mailboxes(2), Wakeups()
    monkeypatch.setattr(WAKEUPS, "tell_others", partial(mailboxes.tell, 0))
    run = InstanceFactory(
        scope="ORCHESTRATION", parent=InstanceFactory(scope="PROJECT", parent=InstanceFactory())
    )
    woken: list[str] = []
    with there.subscribed(run.pk, lambda: woken.append(run.pk)):
        mailboxes.hear(1, there.wake)
        assert woken == []
        TaskFactory(instance=run)
        mailboxes.hear(1, there.wake)
    assert woken


def test_a_process_hears_in_its_event_loop_and_not_itself() -> None:
    mailboxes = Mailboxes(2)

    async def listened() -> list[str]:
        first: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        mailboxes.listen(1, lambda words: first.set_result(list(words)))
        mailboxes.tell(1, ["itself"])
        mailboxes.tell(None, ["b", "a"])
        return await asyncio.wait_for(first, 60)

    assert asyncio.run(listened()) == ["a", "b"]


def test_a_process_that_does_not_hear_holds_up_nobody() -> None:
    mailboxes = Mailboxes(1)
    for _ in range(1000):
        mailboxes.tell(None, ["i" * 64 + str(n) for n in range(2 * MOST_WORDS)])
    heard: list[str] = []
    mailboxes.hear(0, heard.extend)
    assert len(set(heard)) == MOST_WORDS


def test_many_words_arrive_where_a_message_is_short() -> None:
    mailboxes = Mailboxes(1)
    for _, end in mailboxes._ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
    words = [f"{n:064}" for n in range(100)]
    mailboxes.tell(None, words)
    heard: list[str] = []
    mailboxes.hear(0, heard.extend)
    assert heard == words
