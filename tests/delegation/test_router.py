"""The router names the target and the candidates of a task and moves nothing."""

from __future__ import annotations

import pytest

from delegation.router import InstanceRouter
from instances.lifecycle.actions import pause_instance, stop_instance
from instances.models import Task
from tests.factories import ALICE, InstanceFactory, TaskFactory

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_router_names_the_target_and_moves_nothing() -> None:
    top = InstanceFactory(name="top")
    web = InstanceFactory(scope="PROJECT", name="web", parent=top)
    task = TaskFactory(instance=top)
    router = InstanceRouter()
    assert router.find_target_instance(task, top) is None
    web.__class__.objects.filter(pk="web").update(config={"capabilities": ["x"]})
    Task.objects.filter(pk=task.pk).update(tags=["x"], tag_keys=["x"])
    task.refresh_from_db()
    assert router.find_target_instance(task, top) == web
    task.refresh_from_db()
    assert task.instance_id == "top"
    stop_instance(top.pk, actor=ALICE)
    assert router.find_target_instance(task, top) is None


def test_only_a_legal_child_that_takes_offers_can_be_delegated_to() -> None:
    top = InstanceFactory(name="top")
    web = InstanceFactory(scope="PROJECT", name="web", parent=top)
    run = InstanceFactory(scope="ORCHESTRATION", name="run", parent=web)
    router = InstanceRouter()
    assert router.can_delegate_to(top, web)
    assert not router.can_delegate_to(top, run)
    stop_instance(web.pk, actor=ALICE)
    web.refresh_from_db()
    assert not router.can_delegate_to(top, web)


def test_available_are_those_that_effectively_run() -> None:
    top = InstanceFactory(name="top")
    one = InstanceFactory(scope="PROJECT", name="one", parent=top)
    InstanceFactory(scope="PROJECT", name="two", parent=top, running=False)
    router = InstanceRouter()
    assert router.get_available_instances("PROJECT") == [one]
    pause_instance(top.pk, actor=ALICE)
    assert router.get_available_instances("PROJECT") == []
