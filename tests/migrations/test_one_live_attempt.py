"""A database with two live attempts of one task can be migrated: the lease keeps its attempt."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import connection

from instances.models import Attempt
from instances.tasks.worker import claim_next, release_task
from tests.factories import ALICE, InstanceFactory, TaskFactory

migration: Any = import_module("instances.migrations.0032_one_live_attempt")


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("sound")
def test_the_attempt_of_the_lease_stays_live_and_the_others_have_run_out() -> None:
    run = InstanceFactory(scope="ORCHESTRATION", parent=InstanceFactory(scope="PROJECT"))
    TaskFactory(instance=run)
    (first,) = claim_next(run.pk, worker="w", actor=ALICE).leases
    release_task(first.task.pk, token=first.token, actor=ALICE)
    claim_next(run.pk, worker="w", actor=ALICE)
    (constraint,) = (one for one in Attempt._meta.constraints if one.name == migration.NAME)
    with connection.schema_editor() as editor:
        editor.remove_constraint(Attempt, constraint)
    Attempt.objects.filter(number=1).update(outcome=None, ended_at=None)
    with connection.schema_editor() as editor:
        migration.add_where_missing(apps, editor)
    old, kept = Attempt.objects.order_by("number")
    assert (old.outcome, kept.outcome) == ("expired", None)
    assert old.ended_at is not None
    with connection.cursor() as cursor:
        assert migration.NAME in connection.introspection.get_constraints(
            cursor, Attempt._meta.db_table
        )
