"""A long change of one tree holds up no other tree (R6)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection, transaction

from delegation.audit import audit
from delegation.delegator import Delegator
from hopper.errors import NotAccepting
from instances.lifecycle.actions import stop_instance, terminate_instance, update_instance
from instances.lifecycle.preview import preview_terminate
from instances.models import HopperInstance, Task
from instances.tasks.creating import NewTask, create_task
from instances.tasks.ending import cancel_task
from instances.tasks.reopening import reopen_task
from instances.tree.locks import lock_trees
from instances.tree.shape import create_instance, move_instance, rename_instance
from tests.factories import ALICE, InstanceFactory, TaskFactory

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

LONG = 20
"""Seconds in which a call that nobody holds up has ended."""
SHORT = 0.5


class Beside(threading.Thread):
    """A call in a thread and a connection of its own."""

    def __init__(self, act: Callable[[], Any]) -> None:
        super().__init__()
        self.act, self.answer, self.failure = act, None, None
        self.start()

    def run(self) -> None:
        try:
            self.answer = self.act()
        except Exception as error:
            self.failure = error
        finally:
            connection.close()

    def waits(self) -> bool:
        """Return whether the call is held up."""
        self.join(SHORT)
        return self.is_alive()

    def result(self) -> Any:
        """Return what the call answered; raise what it raised."""
        self.join(LONG)
        assert not self.is_alive()
        if self.failure is not None:
            raise self.failure
        return self.answer


@pytest.fixture
def trees() -> None:
    """Two trees, `a` and `b`, each with a project and a run."""
    for name in ("a", "b"):
        top = InstanceFactory(name=name)
        project = InstanceFactory(scope="PROJECT", parent=top, name=f"{name}-web")
        InstanceFactory(scope="ORCHESTRATION", parent=project, name=f"{name}-run")
        InstanceFactory(scope="PROJECT", parent=top, name=f"{name}-ops")


def run_of_b() -> HopperInstance:
    return HopperInstance.objects.get(pk="b-run")


def ended() -> str:
    """Return an ended task of the tree `b`."""
    task: Task = TaskFactory(instance=run_of_b())
    cancel_task(task.pk, actor=ALICE)
    return task.pk


def reassign() -> Any:
    top = HopperInstance.objects.get(pk="b")
    task = TaskFactory(instance=top)
    offer = Delegator(ALICE).delegate_task(task.pk, "b-web").delegation
    Delegator(ALICE).accept_delegation(offer.pk)
    return Delegator(ALICE).delegate_task(task.pk, "b-ops", delegation_type="reassign")


CHANGES: dict[str, Callable[[], Any]] = {
    "create": lambda: create_instance("new", scope="ORCHESTRATION", parent_id="b-web", actor=ALICE),
    "create a root": lambda: create_instance("c", scope="GLOBAL", actor=ALICE),
    "move": lambda: move_instance("b-run", parent_id="b-ops", actor=ALICE),
    "rename": lambda: rename_instance("b-run", name="other", actor=ALICE),
    "rename a root": lambda: update_instance("b", changes={"name": "bee"}, actor=ALICE),
    "evacuate": lambda: stop_instance("b-run", evacuate=True, actor=ALICE),
    "terminate": lambda: terminate_instance("b", cascade=True, actor=ALICE),
    "preview": lambda: preview_terminate("b", cascade=True, actor=ALICE),
    "reopen": lambda: reopen_task(ended(), actor=ALICE),
    "reassign": reassign,
    "work": lambda: cancel_task(TaskFactory(instance=run_of_b()).pk, actor=ALICE),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_locked_tree_holds_up_no_change_of_another(
    trees: None, change: Callable[[], Any]
) -> None:
    with transaction.atomic():
        preview_terminate("a", cascade=True, actor=ALICE)
        terminate_instance("a", cascade=True, actor=ALICE)
        Beside(change).result()
    assert audit() == []


def test_a_locked_tree_holds_up_its_own_changes(trees: None) -> None:
    with transaction.atomic():
        lock_trees("a-run")
        other = Beside(lambda: rename_instance("a-web", name="other", actor=ALICE))
        assert other.waits()
    assert other.result().name == "other"


def test_two_trees_that_take_one_id_at_once_get_two(trees: None) -> None:
    with transaction.atomic():
        create_instance("same", scope="PROJECT", parent_id="a", actor=ALICE)
        other = Beside(lambda: create_instance("same", scope="PROJECT", parent_id="b", actor=ALICE))
        assert other.waits()
    assert other.result().pk == "same-2"
    assert audit() == []


def test_an_instance_that_left_its_tree_during_the_wait_is_locked_where_it_stands(
    trees: None,
) -> None:
    with transaction.atomic():
        move_instance("a-run", parent_id="b-web", actor=ALICE)
        other = Beside(lambda: move_instance("a-run", parent_id="b-ops", actor=ALICE))
        assert other.waits()
    assert other.result().parent_id == "b-ops"
    assert audit() == []


def test_moves_across_two_trees_in_both_directions_end(trees: None) -> None:
    with transaction.atomic():
        move_instance("a-run", parent_id="b-web", actor=ALICE)
        other = Beside(lambda: move_instance("b-run", parent_id="a-web", actor=ALICE))
        assert other.waits()
    assert other.result().parent_id == "a-web"
    assert audit() == []


def test_a_task_created_before_a_terminate_moves_up(trees: None) -> None:
    with transaction.atomic():
        made = create_task(NewTask(title="t", instance_id="b-run"), actor=ALICE).task
        other = Beside(lambda: terminate_instance("b-run", cascade=True, actor=ALICE))
        assert other.waits()
    other.result()
    assert Task.objects.get(pk=made.pk).instance_id == "b-web"
    assert audit() == []


@pytest.mark.parametrize("end", [stop_instance, terminate_instance])
def test_a_task_created_after_an_end_is_refused(trees: None, end: Callable[..., Any]) -> None:
    with transaction.atomic():
        end("b-run", actor=ALICE)
        other = Beside(lambda: create_task(NewTask(title="t", instance_id="b-run"), actor=ALICE))
        assert other.waits()
    with pytest.raises(NotAccepting):
        other.result()
    assert audit() == []
