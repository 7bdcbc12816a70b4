"""An agent asks, a person answers, another worker goes on with the checkpoint and the answer."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connections
from django.test import Client as Browser
from django.urls import reverse

from delegation.sweep import sweep
from hopper.cli.local import LocalTransport
from hopper.cli.main import run
from hopper.cli.parser import build_parser
from instances.models import HopperInstance, Question, Task
from tests.cli.mcp_agent import Ask, talk_here
from tests.factories import InstanceFactory

Tree = dict[str, HopperInstance]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]


@pytest.fixture
def tree(transactional_db: None) -> Tree:
    """A GLOBAL, a project that keeps nothing for people, and its run."""
    top = InstanceFactory(name="top")
    config = {"capabilities": ["web"], "manual_fallback": False, "create_orchestrations": False}
    web = InstanceFactory(scope="PROJECT", parent=top, name="web", config=config)
    return {
        "top": top,
        "web": web,
        "run": InstanceFactory(scope="ORCHESTRATION", parent=web, name="run"),
    }


@pytest.fixture(autouse=True)
def paula(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paula is at the keyboard. The threads of the tools leave no connection behind."""
    monkeypatch.setenv("LOGNAME", "paula")
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)


class Agent:
    """An agent that works through the tools of `hopper mcp`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def work(self, story: Callable[[Ask], Awaitable[Any]]) -> Any:
        """Let a story call tools, and return what it returns."""
        return talk_here(lambda client, ask: story(ask), self.name)

    def ask(self, **question: Any) -> str:
        """Create and claim a task, keep a checkpoint, and ask about it; return the task's id."""

        async def story(tool: Ask) -> str:
            await tool("add_task", title="License it", instance_id="run", complexity=4)
            (claimed,) = (await tool("claim_task", instance_id="run", worker=self.name))["tasks"]
            token = claimed["lease"]["token"]
            beat = {"task_id": claimed["id"], "token": token}
            await tool("heartbeat", **beat, checkpoint={"step": 3})
            asked = await tool("ask_question", **beat, question="MIT or Apache?", **question)
            assert (asked["status"], asked["waiting_on"]["code"]) == ("blocked", "InputRequired")
            again = await tool("ask_question", **beat, question="MIT or Apache?", **question)
            assert [one["id"] for one in again["questions"]] == [asked["questions"][0]["id"]]
            return str(claimed["id"])

        return str(self.work(story))

    def claim(self) -> dict[str, Any]:
        """Claim the next task of the run and finish it; return it as it was claimed."""

        async def story(tool: Ask) -> Any:
            (claimed,) = (await tool("claim_task", instance_id="run", worker=self.name))["tasks"]
            token = claimed["lease"]["token"]
            await tool("complete_task", task_id=claimed["id"], token=token)
            return claimed

        return dict(self.work(story))


def hopper(*arguments: str) -> str:
    """Carry out a command on this database, and return what it writes."""
    out = io.StringIO()
    assert run(build_parser().parse_args(arguments), LocalTransport(), out) == 0
    return out.getvalue()


def answer_by_command(task: str, words: str) -> None:
    """Find the question, see it everywhere, and answer it at the command line."""
    question = Question.objects.get(task=task, state="open")
    assert question.text in hopper("task", "get", task)
    assert f"hopper task answer {task}" in hopper("task", "why", task)
    assert question.text in hopper("attention")
    assert task not in hopper("task", "list", "--ready")
    line = ["--question-id", question.pk, "--answer", words]
    assert "Changed status to: open" in hopper("task", "answer", task, *line)
    assert hopper("attention") == "Nothing waits for a person.\n"


def answer_by_admin(task: str, words: str) -> None:
    """Open the page of the task, and press the button of an answer."""
    user = get_user_model().objects.create_superuser("paula", password="secret")
    browser = Browser()
    browser.force_login(user)
    page = browser.get(reverse("admin:instances_task_change", args=[task])).content.decode()
    assert f'<button type="submit" name="answer" value="{words}">' in page
    question = Question.objects.get(task=task, state="open")
    body = {"question_id": question.pk, "answer": words}
    browser.post(reverse("admin:instances_task_answer", args=[task]), body)


@pytest.mark.parametrize("answer", [answer_by_command, answer_by_admin])
def test_another_worker_goes_on_with_the_checkpoint_and_the_answer(
    tree: Tree, answer: Callable[[str, str], None]
) -> None:
    task = Agent("first").ask(choices=["MIT", "Apache"])
    assert Task.objects.get(pk=task).instance_id == "run"
    answer(task, "MIT")
    claimed = Agent("second").claim()
    assert (claimed["id"], claimed["lease"]["checkpoint"]) == (task, {"step": 3})
    (question,) = claimed["questions"]
    assert (question["state"], question["answer"], question["answered_by"]) == (
        "answered", "MIT", "paula",
    )  # fmt: skip
    assert (question["asked_by"], question["instance_id"], question["attempt"]) == (
        "first", "run", 1,
    )  # fmt: skip


@pytest.mark.parametrize("answer", [answer_by_command, answer_by_admin])
def test_the_answer_to_a_question_that_rose_to_the_root_comes_back_to_the_asker(
    tree: Tree, answer: Callable[[str, str], None]
) -> None:
    async def give_up(tool: Ask) -> str:
        added = {"title": "License it", "instance_id": "top", "tags": ["web"], "complexity": 4}
        task = await tool("add_task", **added)
        (claimed,) = (await tool("claim_task", instance_id="run", worker="first"))["tasks"]
        beat = {"task_id": claimed["id"], "token": claimed["lease"]["token"]}
        await tool("heartbeat", **beat, checkpoint={"step": 3})
        await tool("escalate_task", **beat, reason="MIT or Apache?")
        return str(task["id"])

    task = Agent("first").work(give_up)
    assert _stands(task) == ("web", "blocked", "InputRequired", "MIT or Apache?")
    hopper("task", "escalate", task, "--reason", "beyond me")
    assert _stands(task) == ("top", "blocked", "InputRequired", "MIT or Apache?")
    Question.objects.update(choices=["MIT", "Apache"])
    answer(task, "MIT")
    assert Task.objects.get(pk=task).instance_id == "run"
    claimed = Agent("second").claim()
    assert (claimed["id"], claimed["lease"]["checkpoint"]) == (task, {"step": 3})
    assert [one["answer"] for one in claimed["questions"]] == ["MIT"]


def test_a_default_answers_when_the_time_is_over(tree: Tree) -> None:
    task = Agent("first").ask(default="Apache", timeout_seconds=3600)
    assert sweep().questions_timed_out == 0
    _let_time_pass()
    assert sweep().questions_timed_out == 1
    (question,) = Agent("second").claim()["questions"]
    assert (question["state"], question["answer"]) == ("expired", "Apache")
    assert Task.objects.get(pk=task).status == "done"


def test_without_a_default_the_question_rises_once(tree: Tree) -> None:
    task = Agent("first").ask(timeout_seconds=3600)
    _let_time_pass()
    assert sweep().questions_timed_out == 1
    assert _stands(task) == ("web", "blocked", "InputRequired", "MIT or Apache?")
    assert sweep().questions_timed_out == 0
    answer_by_command(task, "MIT")
    assert Task.objects.get(pk=task).instance_id == "run"
    assert Agent("second").claim()["questions"][0]["answer"] == "MIT"


def _stands(task_id: str) -> tuple[str | None, str, str, str]:
    task = Task.objects.get(pk=task_id)
    return task.instance_id, task.status, task.waiting_code, str(task.waiting.get("detail"))


def _let_time_pass() -> None:
    for row in Question.objects.filter(until__isnull=False):
        row.until = row.asked_at
        row.save()
