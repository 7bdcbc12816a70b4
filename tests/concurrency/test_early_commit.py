"""A claim and a report free the counter before the disk has them; the answer waits (ADR 0018)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from instances.models import InstanceLoad, Task
from instances.tasks.worker import claim_next, claim_task, complete_task
from tests.factories import ALICE, InstanceFactory, TaskFactory

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

PATIENCE = 60  # seconds until a commit waits for the standby, or has been confirmed


def _execute(statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Durable(threading.Thread):
    """Does some work in a session whose commits wait for the disk and the standby."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__()
        self.work, self.session, self.ended = work, 0, False
        self.start()

    def run(self) -> None:
        try:
            _execute("SET synchronous_commit = on")
            ((self.session,),) = _execute("SELECT pg_backend_pid()")
            self.work()
            self.ended = True
        finally:
            connection.close()

    def waits(self) -> bool:
        """Return whether its commit waits for the standby."""
        state = f"SELECT wait_event FROM pg_stat_activity WHERE pid = {self.session}"
        return _execute(state) == [("SyncRep",)]


@pytest.fixture
def end_of_the_wait() -> Iterator[Callable[[], None]]:
    """Let durable commits wait for a standby that never comes; the call ends this."""
    if _execute("SHOW fsync") == [("on",)]:
        pytest.skip("changes the server: needs the throw-away one")
    confirmed = threading.Event()

    def commit() -> None:
        while not confirmed.is_set():
            _execute("SELECT pg_logical_emit_message(true, 'test', '')")

    def follow(standby: str) -> None:
        _execute(f"ALTER SYSTEM SET synchronous_standby_names = '{standby}'")
        _execute("SELECT pg_reload_conf()")

    def confirm() -> None:
        confirmed.set()
        follow("")

    follow("nobody")
    first = Durable(commit)
    try:
        _until(first.waits)
        yield confirm
    finally:
        confirm()
        first.join(PATIENCE)


def _claims(run: str, task: str) -> Callable[[], object]:
    return lambda: claim_next(run, worker="w", actor=ALICE)


def _claims_by_tags(run: str, task: str) -> Callable[[], object]:
    return lambda: claim_next(run, worker="w", tags=["web"], actor=ALICE)


def _claims_that_task(run: str, task: str) -> Callable[[], object]:
    return lambda: claim_task(task, worker="w", actor=ALICE)


def _completes(run: str, task: str) -> Callable[[], object]:
    token = claim_task(task, worker="w", actor=ALICE).token
    return lambda: complete_task(task, token=token, actor=ALICE)


@pytest.mark.parametrize("verb", [_claims, _claims_by_tags, _claims_that_task, _completes])
def test_others_go_on_while_the_answer_waits_for_the_disk(
    end_of_the_wait: Callable[[], None], verb: Callable[[str, str], Callable[[], object]]
) -> None:
    run = InstanceFactory(scope="ORCHESTRATION", parent=InstanceFactory(scope="PROJECT"))
    claim_next(run.pk, worker="first", actor=ALICE)  # This process knows the queue from now on.
    task = TaskFactory(instance=run, tags=["web"])
    work = verb(run.pk, task.pk)
    task.refresh_from_db()
    one = Durable(work)
    _until(one.waits)
    assert Task.objects.get(pk=task.pk).status != task.status
    _execute("SET lock_timeout = '1s'")
    assert InstanceLoad.objects.filter(pk=run.pk).update(stops=0) == 1
    assert not one.ended
    end_of_the_wait()
    one.join(PATIENCE)
    assert one.ended


@pytest.mark.usefixtures("end_of_the_wait")
def test_a_claim_that_finds_no_task_waits_for_nothing() -> None:
    run = InstanceFactory(scope="ORCHESTRATION", parent=InstanceFactory(scope="PROJECT"))
    claim_next(run.pk, worker="first", actor=ALICE)
    one = Durable(lambda: claim_next(run.pk, worker="w", limit=3, actor=ALICE))
    one.join(PATIENCE)
    assert one.ended
