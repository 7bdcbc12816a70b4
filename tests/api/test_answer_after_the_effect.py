"""What fails after a commit takes no answer away: the sweep does the rest (R9, R23)."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from django.db import transaction

from delegation.sweep import sweep
from instances.models import HopperInstance, Task
from instances.tasks.dependencies import overlooked
from instances.tasks.worker import claim_task
from tests.api.conftest import Caller
from tests.factories import ALICE, TaskFactory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.unmeasured, pytest.mark.django_db(transaction=True)]


@contextmanager
def failing_after_commits() -> Iterator[list[Any]]:
    """Let every call after a commit fail in the block; yield the list of the failed calls."""
    real, failed = transaction.on_commit, []

    def fail_after(call: Callable[[], Any], using: Any = None, robust: bool = False) -> None:
        def fail() -> None:
            failed.append(call)
            raise RuntimeError("injected")

        real(fail, using, robust)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(transaction, "on_commit", fail_after)
        yield failed


Tree = dict[str, HopperInstance]
Request = tuple[str, str, dict[str, Any]]


def _create(ada: Caller, tree: Tree) -> Request:
    return "POST", "/tasks", {"title": "new", "instance_id": tree["top"].pk, "project": "web"}


def _create_waiting(ada: Caller, tree: Tree) -> Request:
    before = TaskFactory(instance=tree["web-run"])
    body = {"title": "new", "instance_id": tree["web-run"].pk, "depends_on": [before.pk]}
    return "POST", "/tasks", body


def _complete(ada: Caller, tree: Tree) -> Request:
    task = TaskFactory(instance=tree["web-run"])
    TaskFactory(instance=tree["web-run"], depends_on=[task.pk])
    token = claim_task(task.pk, worker="w", actor=ALICE).token
    return "POST", f"/tasks/{task.pk}/complete", {"token": token}


def _complete_the_last_lease(ada: Caller, tree: Tree) -> Request:
    request = _complete(ada, tree)
    ada.tell(f"/instances/{tree['web-run'].pk}/stop")
    return request


def _cancel(ada: Caller, tree: Tree) -> Request:
    task = TaskFactory(instance=tree["web-run"])
    TaskFactory(instance=tree["web-run"], depends_on=[task.pk])
    return "POST", f"/tasks/{task.pk}/cancel", {}


def _retry(ada: Caller, tree: Tree) -> Request:
    _, path, _ = _cancel(ada, tree)
    ada.tell(path)
    return "POST", path.replace("cancel", "retry"), {}


def _terminate(ada: Caller, tree: Tree) -> Request:
    TaskFactory(instance=tree["web-run"])
    return "DELETE", f"/instances/{tree['web'].pk}?cascade=true", {}


def _resume(ada: Caller, tree: Tree) -> Request:
    ada.tell(f"/instances/{tree['web'].pk}/pause")
    return "POST", f"/instances/{tree['web'].pk}/resume", {}


REQUESTS = [
    *(_create, _create_waiting, _complete, _complete_the_last_lease),
    *(_cancel, _retry, _terminate, _resume),
]


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("prepare", REQUESTS)
def test_the_answer_is_the_success_and_the_sweep_does_the_rest(
    prepare: Callable[[Caller, Tree], Request],
    keyed: bool,
    ada: Caller,
    tree: Tree,
) -> None:
    method, path, body = prepare(ada, tree)
    headers = {"Idempotency-Key": "once"} if keyed and method == "POST" else {}
    with failing_after_commits() as failed:
        answer = ada.call(method, path, body if method == "POST" else None, **headers)
    assert answer.status_code in (200, 201, 204), answer.content
    assert failed
    sweep()
    assert not Task.objects.filter(route_due=True, instance__status="running").exists()
    assert not HopperInstance.objects.filter(status="stopping").exists()
    assert not any(rows.exists() for rows in overlooked())
