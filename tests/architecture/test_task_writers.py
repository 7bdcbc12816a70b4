"""Two modules write rows of tasks; every other one asks a verb of `changes`."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection

from delegation.delegator import Delegator, decompose_task
from delegation.placing import reroute_task
from delegation.sweep import sweep
from instances.lifecycle.actions import stop_instance, terminate_instance
from instances.models import Task
from instances.tasks.creating import NewTask
from instances.tasks.editing import update_task
from instances.tasks.ending import cancel_task
from instances.tasks.reopening import reopen_task
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_next, complete_task, fail_task, heartbeat, release_task
from tests.architecture.sources import ROOMS, ROOT, where
from tests.factories import ALICE, InstanceFactory, TaskFactory

if TYPE_CHECKING:
    from collections.abc import Callable

    from instances.models import HopperInstance

WRITERS = {
    "instances/tasks/changes.py",
    "instances/tasks/claim_sql.py",
}
PASSED_THROUGH = ("hopper/database/", "instances/models/task.py")
"""Modules that execute what their caller asks for: the caller is the writer."""

WRITING = {
    "create", "bulk_create", "bulk_update", "get_or_create", "update_or_create", "update",
    "delete",
}  # fmt: skip


def writing_calls(tree: ast.Module) -> set[str]:
    """Return the calls that write tasks by their manager, and the saves of an object `task`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            whole = ast.unparse(node.func)
            by_manager = whole.startswith("Task.objects.") and node.func.attr in WRITING
            by_object = whole in {"task.save", "parent.save", "child.save", "task.delete"}
            if by_manager or by_object:
                found.add(whole)
    return found


def test_no_other_module_names_a_write_of_tasks() -> None:
    assert set(where(lambda source: writing_calls(source.tree))) <= WRITERS


def test_a_write_would_be_found() -> None:
    tree = ast.parse("Task.objects.filter(pk=1).update(status='done')\ntask.save()")
    assert writing_calls(tree) == {"Task.objects.filter(pk=1).update", "task.save"}


class Writers:
    """An execute wrapper that notes which module writes rows of tasks."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def __call__(self, execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        words = sql.replace('"', "").replace("\n", " ")
        table = Task._meta.db_table
        if any(f"{verb} {table} " in words for verb in ("UPDATE", "INSERT INTO", "DELETE FROM")):
            self.found.add(_caller())
        return execute(sql, *rest)


def _caller() -> str:
    frame = inspect.currentframe()
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT):
            own = path.relative_to(ROOT).as_posix()
            if own.split("/")[0] in ROOMS and not own.startswith(PASSED_THROUGH):
                return own
        frame = frame.f_back
    return "a test"


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("sound")
def test_two_modules_write_the_tasks_of_a_whole_run() -> None:
    writers = Writers()
    top = InstanceFactory(name="top")
    web = InstanceFactory(scope="PROJECT", name="web", parent=top)
    run = InstanceFactory(scope="ORCHESTRATION", name="run", parent=web)
    with connection.execute_wrapper(writers):
        work_as_a_worker(run)
        work_in_a_family(run)
        place_and_change_by_hand(top, web)
        stop_instance(run.pk, evacuate=True, actor=ALICE)
        terminate_instance(run.pk, cascade=True, actor=ALICE)
        sweep()
    assert writers.found == WRITERS


def work_as_a_worker(run: HopperInstance) -> None:
    """Claim, report, fail, give back, discard and retry."""
    for _ in range(3):
        TaskFactory(instance=run)
    done, failed, released = claim_next(run.pk, worker="w", limit=3, actor=ALICE).leases
    heartbeat(done.task.pk, token=done.token, actor=ALICE)
    complete_task(done.task.pk, token=done.token, actor=ALICE)
    fail_task(failed.task.pk, token=failed.token, actor=ALICE)
    release_task(released.task.pk, token=released.token, actor=ALICE)
    reopen_task(done.task.pk, actor=ALICE)
    update_task(done.task.pk, changes={"title": "other"}, actor=ALICE)


def work_in_a_family(run: HopperInstance) -> None:
    """Decompose a task into children of which one waits for the other, and cancel it."""
    parent = TaskFactory(instance=run)
    children = [
        NewTask(title="a", key="a", on_parent_close="abandon"),
        NewTask(title="b", key="b", depends_on=["a"]),
    ]
    loose = decompose_task(parent.pk, children, actor=ALICE).children[0]
    cancel_task(parent.pk, actor=ALICE)
    assert Task.objects.get(pk=loose.pk).root_id == loose.pk


def place_and_change_by_hand(top: HopperInstance, web: HopperInstance) -> None:
    """Place tasks, hand them over and up, reroute one and finish one by hand."""
    Delegator(ALICE).escalate_task(TaskFactory(instance=web).pk)
    stuck = TaskFactory(instance=top, required_capabilities=["nobody"])
    reroute_task(stuck.pk, actor=ALICE)
    set_status(stuck.pk, status="done", force=True, actor=ALICE)
