"""A decision is written once."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from scopes.models import RoutingDecision
from tests.factories import InstanceFactory, TaskFactory

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_decision_is_recorded_with_all_it_weighed_and_never_changed() -> None:
    top = InstanceFactory(name="top")
    one = InstanceFactory(scope="PROJECT", parent=top, name="one", config={"capabilities": ["x"]})
    InstanceFactory(scope="PROJECT", parent=top, name="two", config={"capabilities": ["x"]})
    task = TaskFactory(instance=top, tags=["x"])
    first, second = RoutingDecision.objects.for_task(task.pk)
    assert (first.verdict, first.target_id, first.alternatives) == ("send", one.pk, ["two"])
    assert (second.verdict, second.code, second.instance_id) == ("stay", "ManualQueue", one.pk)
    assert first.behavior == "scopes.behaviors.global_scope.GlobalScopeBehavior"
    assert first.config_digest
    assert first.config_digest != second.config_digest
    assert str(first) == "top: send one"
    first.code = "Other"
    with pytest.raises(ValidationError):
        first.save()
