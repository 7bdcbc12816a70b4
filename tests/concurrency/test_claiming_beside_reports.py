"""A report locks a family for a moment; who claims then waits for it, or is told so (R22)."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection, transaction

from instances.models import HopperInstance, Task
from instances.tasks import worker
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_next
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.soundness import unsound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


@contextmanager
def _reporting(task: Task) -> Iterator[Callable[[], None]]:
    """Report on a task; the transaction stays open until the yielded function is called."""
    held, go = threading.Event(), threading.Event()

    def report() -> None:
        try:
            with transaction.atomic():
                set_status(task.pk, status="in_progress", actor=ALICE)
                held.set()
                go.wait(60)
        finally:
            connection.close()

    thread = threading.Thread(target=report)
    thread.start()
    assert held.wait(60)

    def end() -> None:
        go.set()
        thread.join(timeout=60)

    try:
        yield end
    finally:
        end()


def _family(**fields: Any) -> tuple[HopperInstance, list[Task]]:
    run = InstanceFactory(scope="ORCHESTRATION", parent=InstanceFactory(scope="PROJECT"))
    parent = TaskFactory()
    return run, [TaskFactory(parent_id=parent.pk, instance=run, **fields) for _ in range(3)]


def test_a_claim_never_reports_a_locked_fitting_task_as_unfit() -> None:
    run, children = _family(required_capabilities=["web"], tags=["quick"])
    with _reporting(children[0]):
        for wish in ({"capabilities": ["web"]}, {"tags": ["quick", "x"]}, {}):
            claim = claim_next(run.pk, worker="bob", actor=ALICE, **wish)
            told = claim.waiting or {}
            assert (claim.leases, told["code"]) == ([], "NothingReady")
            assert "hold the fitting tasks now" in told["detail"]
        none = claim_next(run.pk, worker="bob", capabilities=["gpu"], actor=ALICE)
        assert (none.waiting or {})["code"] == "NothingFits"
    assert claim_next(run.pk, worker="bob", actor=ALICE).leases
    assert unsound() == []


def test_a_claim_waits_a_moment_for_a_report_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    run, children = _family()
    with _reporting(children[0]) as end:
        monkeypatch.setattr(worker.time, "sleep", lambda _: end())
        (lease,) = claim_next(run.pk, worker="bob", actor=ALICE).leases
    assert lease.task.pk == children[1].pk
    assert unsound() == []
