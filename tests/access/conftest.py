"""A world of two projects side by side, made once; each test is rolled back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command

from delegation.delegator import Delegator
from instances.lessons import file_lesson
from instances.models import AgentToken, HopperInstance, Question
from instances.tasks.questions import NewQuestion, ask
from instances.tasks.worker import claim_task
from instances.webhooks.subscriptions import add_webhook
from tests.api.conftest import Caller
from tests.factories import ALICE, InstanceFactory, TaskFactory

HIDDEN = "hidden words"
"""A text in everything that the callers must not see."""
PLACES = ("own", "sibling", "ancestor", "unassigned")


@dataclass(frozen=True)
class World:
    """The ids of one object of each kind at each place, and further ids at the places."""

    objects: dict[str, dict[str, str]]
    more: dict[str, dict[str, str]]
    secrets: frozenset[str]


def _project(name: str, words: str) -> tuple[dict[str, str], dict[str, str], set[str]]:
    """Make a project with a run, tasks, offers, a lesson, a question and a lease."""
    project = InstanceFactory(scope="PROJECT", parent=_get("top"), name=name, description=words)
    run = InstanceFactory(scope="ORCHESTRATION", parent=project, name=f"{name}-run")
    task = TaskFactory(instance=project, title=f"{words} at {name}", description=words)
    asking, leased, given = (TaskFactory(instance=run, title=words) for _ in range(3))
    ask(asking.pk, NewQuestion(f"{words}?"), actor=ALICE)
    lease = claim_task(leased.pk, worker="w", actor=ALICE)
    offered = TaskFactory(instance=project, title=words)
    down = Delegator(ALICE).delegate_task(offered.pk, run.pk).delegation
    above = TaskFactory(instance=_get("top"), title=words)
    into = Delegator(ALICE).delegate_task(above.pk, project.pk).delegation
    seen = HopperInstance.objects.all()
    lesson = file_lesson(words, task=task, description=words, seen=seen, actor=ALICE)
    question = Question.objects.get(task=asking)
    hook = add_webhook(project.pk, "https://example.org/", description=words, actor=ALICE)
    objects = {
        "instances": project.pk, "tasks": task.pk, "delegations": into.pk, "lessons": lesson.pk,
        "webhooks": hook.pk,
    }  # fmt: skip
    more = {
        "below": run.pk, "question": question.pk, "asking": asking.pk, "token": lease.token,
        "down": down.pk, "given": given.pk,
    }  # fmt: skip
    ids = {*objects.values(), *more.values(), leased.pk, offered.pk, above.pk}
    return objects, more, ids


def _get(pk: str) -> HopperInstance:
    return HopperInstance.objects.get(pk=pk)


def _build() -> World:
    InstanceFactory(name="top")
    own, own_more, _ = _project("web", "words of web")
    beside, beside_more, ids = _project("beside", HIDDEN)
    # The decision about this one weighed both projects, and the other one refused it.
    shared = TaskFactory(instance=_get("top"), title="offered to web")
    refused = Delegator(ALICE).delegate_task(shared.pk, "beside", notes=HIDDEN).delegation
    Delegator(ALICE).reject_delegation(refused.pk, reason=HIDDEN)
    Delegator(ALICE).delegate_task(shared.pk, "web")
    own_more["shared"] = shared.pk
    above = TaskFactory(instance=_get("top"), title=HIDDEN, description=HIDDEN)
    loose = TaskFactory(title=HIDDEN, description=HIDDEN)
    seen = HopperInstance.objects.all()
    lessons = [
        file_lesson(HIDDEN, task=task, project="", seen=seen, actor=ALICE)
        for task in (above, loose)
    ]
    hook = add_webhook("top", "https://example.org/", description=HIDDEN, actor=ALICE)
    objects = {
        "own": own,
        "sibling": beside,
        "ancestor": {
            "instances": "top", "tasks": above.pk, "lessons": lessons[0].pk, "webhooks": hook.pk,
        },
        "unassigned": {"tasks": loose.pk, "lessons": lessons[1].pk},
    }  # fmt: skip
    secrets = ids | {above.pk, loose.pk, hook.pk, HIDDEN, *(one.pk for one in lessons)}
    return World(objects, {"own": own_more, "sibling": beside_more}, frozenset(secrets))


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    """The world, committed once for a module."""
    with django_db_blocker.unblock():
        yield _build()
        call_command("flush", verbosity=0, interactive=False, reset_sequences=False)


@pytest.fixture
def caller(world: World, db: None) -> Callable[[str], Caller]:
    """`caller(role)`: a client with a token of that role at web."""

    def make(role: str) -> Caller:
        user, _ = get_user_model().objects.get_or_create(username=role)
        _, secret = AgentToken.objects.create(user, name=role, role=role, instance_id="web")
        client = Caller(raise_request_exception=False)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
        return client

    return make
