"""The command line speaks HTTP to a server: stale edits, words, answers of the other side."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from hopper.cli.http import HttpTransport
from hopper.cli.main import run
from hopper.cli.parser import build_parser
from instances.models import AgentToken, Task
from instances.tasks.editing import update_task
from tests.cli.conftest import Outcome
from tests.cli.fakes import Terminal
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.spellings import CAFE, FIVE

pytestmark = pytest.mark.django_db(transaction=True)

Remote = Callable[..., Outcome]


class Recorder(HttpTransport):
    """Keeps the status of each answer; a test may act before a request is sent."""

    def __init__(self, server: str, token: str) -> None:
        super().__init__(server, token=token)
        self.statuses: list[tuple[str, int]] = []
        self.before_patch: list[Callable[[], Any]] = []

    def request(self, method: str, path: str, **options: Any) -> Any:
        if method == "PATCH" and self.before_patch:
            self.before_patch.pop(0)()
        reply = super().request(method, path, **options)
        self.statuses.append((method, reply.status))
        return reply


@pytest.fixture
def transport(live_server: Any, db: None) -> Recorder:
    user = get_user_model().objects.create_user("ada")
    _, secret = AgentToken.objects.create(user, name="ada", role="admin")
    return Recorder(live_server.url, secret)


@pytest.fixture
def remote(transport: Recorder, capsys: pytest.CaptureFixture[str]) -> Remote:
    """Carry out `hopper ARGUMENTS…` over HTTP."""

    def carry_out(*arguments: str) -> Outcome:
        out = io.StringIO()
        code = run(build_parser().parse_args(arguments), transport, out)
        return Outcome(code, out.getvalue(), capsys.readouterr().err)

    return carry_out


def _edit(task: Task, **changes: Any) -> Callable[[], Any]:
    return lambda: update_task(task.pk, changes=changes, actor=ALICE)


def test_a_stale_edit_of_tags_is_refused_and_made_again(
    remote: Remote, transport: Recorder
) -> None:
    task = TaskFactory(title="x", tags=["a"])
    transport.before_patch = [_edit(task, tags=["a", "theirs"])]
    assert remote("task", "update", task.pk, "--add-tag", "mine").code == 0
    assert [status for method, status in transport.statuses if method == "PATCH"] == [412, 200]
    assert Task.objects.get(pk=task.pk).tags == ["a", "theirs", "mine"]


@pytest.mark.parametrize(("again", "title"), [("mine\n", "mine"), ("\n", "theirs")])
def test_a_field_that_was_changed_while_a_person_answered_is_shown_with_both_values(
    remote: Remote,
    transport: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    again: str,
    title: str,
) -> None:
    task = TaskFactory(title="first")
    transport.before_patch = [_edit(task, title="theirs")]
    monkeypatch.setattr(sys, "stdin", Terminal(f"mine\nhigh\n\n{again}"))
    told = remote("task", "update", task.pk, "-i")
    assert told.code == 0
    assert "title was changed meanwhile: it is 'theirs', and you gave 'mine'." in told.err
    assert [status for method, status in transport.statuses if method == "PATCH"] == [412, 200]
    row = Task.objects.get(pk=task.pk)
    assert (row.title, row.priority) == (title, "high")


def test_a_change_of_another_field_asks_nothing_again(
    remote: Remote, transport: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = TaskFactory(title="first")
    transport.before_patch = [_edit(task, description="theirs")]
    monkeypatch.setattr(sys, "stdin", Terminal("mine\n\n\n"))
    told = remote("task", "update", task.pk, "-i")
    assert (told.code, "meanwhile" in told.err) == (0, False)
    row = Task.objects.get(pk=task.pk)
    assert (row.title, row.description) == ("mine", "theirs")


def test_an_edit_that_is_always_overtaken_shows_both_values(
    remote: Remote, transport: Recorder
) -> None:
    task = TaskFactory(title="x", tags=["a"])
    transport.before_patch = [_edit(task, tags=[f"theirs {turn}"]) for turn in range(9)]
    told = remote("task", "update", task.pk, "--add-tag", "mine")
    assert told.code == 1
    assert "was changed since you read it" in told.err
    assert 'tags: stored is ["theirs' in told.err
    assert '"mine"]' in told.err


@pytest.mark.parametrize("word", FIVE, ids=ascii)
def test_one_word_over_http_however_it_is_spelt(remote: Remote, word: str) -> None:
    top = InstanceFactory(name="top")
    project = InstanceFactory(scope="PROJECT", parent=top, name=CAFE, id="place")
    InstanceFactory(scope="ORCHESTRATION", parent=project, name="run")

    def found(*arguments: str) -> Any:
        return json.loads(remote("--json", *arguments).out)

    task = found("add", "x", "--instance", "top", "--project", word, "--tag", word)
    assert task["instance_id"] == "place"
    for asked in (("--project", FIVE[1]), ("--tag", FIVE[4])):
        assert [row["id"] for row in found("task", "list", *asked)] == [task["id"]]
    again = remote("instance", "create", word, "--scope", "project", "--parent", "top")
    assert again.code == 1
    assert "name" in again.err
