"""A step of one child costs little in a large family, though all of it is locked (R6)."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.models.signals import post_init

from instances.models import Task
from instances.tasks.creating import NewTask
from instances.tasks.decomposing import create_children
from instances.tasks.worker import claim_task, complete_task
from tests.factories import ALICE, InstanceFactory, TaskFactory

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_child_ends_without_its_siblings_being_read_whole() -> None:
    run = InstanceFactory(scope="ORCHESTRATION", parent=InstanceFactory(scope="PROJECT"))
    parent = TaskFactory(instance=run)
    plan = [NewTask(str(n)) for n in range(60)]
    child = create_children(parent.pk, plan, terms={}, actor=ALICE).children[0]
    read: list[str] = []

    def count(instance: Any, **_: Any) -> None:
        read.append(instance.title)

    post_init.connect(count, sender=Task)
    try:
        token = claim_task(child.pk, worker="bob", actor=ALICE).token
        complete_task(child.pk, token=token, actor=ALICE)
    finally:
        post_init.disconnect(count, sender=Task)
    assert len(read) < len(plan) / 2
