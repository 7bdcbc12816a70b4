"""A decision shows all that was weighed, why it fell so, and what people thought of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from instances.lifecycle.actions import stop_instance
from scopes.feedback import give_feedback
from scopes.models import RoutingDecision
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.soundness import unsound

if TYPE_CHECKING:
    from django.test import Client

pytestmark = pytest.mark.django_db(transaction=True)


def test_candidates_reasons_and_feedback_are_read_without_json(admin_client: Client) -> None:
    top = InstanceFactory(name="top")
    for name in ("web", "shop", "gone"):
        config = {"capabilities": ["x"] if name == "web" else ["x", "y"]}
        InstanceFactory(scope="PROJECT", name=name, parent=top, config=config)
    stop_instance("gone", actor=ALICE)
    task = TaskFactory(instance=top, tags=["x", "y"])
    assert task.instance_id == "shop"
    give_feedback(task, {"was_good_match": False, "notes": "not <b>ours</b>"}, actor=ALICE)
    sent = RoutingDecision.objects.get(task=task, verdict="send")
    page = admin_client.get(f"/admin/scopes/routingdecision/{sent.pk}/change/").content.decode()
    for words in (
        "<div>shop scores 4 (tags 4)</div>",
        "<td>chosen</td>", "<td>tags 4</td>", "<td>fits</td>", "<td>status: stopped</td>",
        "<td>no</td>", "not &lt;b&gt;ours&lt;/b&gt;",
    ):  # fmt: skip
        assert words in page, words
    assert "[{" not in page
    listed = admin_client.get("/admin/scopes/routingdecision/", {"q": task.pk}).content.decode()
    assert listed.count(task.pk) >= 2
    assert unsound() == []
