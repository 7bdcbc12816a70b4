"""Commands keep the leases that they took: for their task, worker and session, and for no other."""

from __future__ import annotations

import io
import json
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import time_machine
from django.utils import timezone

from hopper.cli.leases import session_name
from hopper.cli.local import LocalTransport
from hopper.cli.main import run as run_arguments
from hopper.cli.parser import build_parser
from instances.models import Attempt, Question, Task
from instances.tasks.leases import expire_leases
from instances.tasks.questions import answer_question
from instances.tasks.worker import claim_task, release_task
from tests.factories import ALICE, InstanceFactory, TaskFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]


@dataclass
class Outcome:
    """What a command came to."""

    code: int
    out: str


@pytest.fixture
def hopper(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run a command line as one session's: `hopper("task", "get", …, session="a")`."""

    def carry_out(*arguments: str, session: str = "one") -> Outcome:
        monkeypatch.setenv("HOPPER_SESSION", session)
        out = io.StringIO()
        code = run_arguments(build_parser().parse_args(arguments), LocalTransport(), out)
        return Outcome(code, out.getvalue())

    return carry_out


@pytest.fixture
def task() -> str:
    """A task that a worker can claim."""
    project = InstanceFactory(scope="PROJECT", name="web")
    run = InstanceFactory(scope="ORCHESTRATION", name="run", parent=project)
    return str(
        TaskFactory(instance=run, title="Build", description="The whole brief", project="web").pk
    )


def test_a_task_is_reported_without_its_token(hopper: Callable[..., Outcome], task: str) -> None:
    assert hopper("task", "claim", task, "--worker", "a").code == 0
    assert hopper("task", "heartbeat", task, "--checkpoint", '{"step": 1}').code == 0
    assert hopper("task", "complete", task).code == 0
    assert Task.objects.get().status == "done"


@pytest.mark.parametrize(
    "end",
    [
        ["complete"],
        ["fail", "--error", "no disk"],
        ["release"],
        ["ask", "--question", "MIT?"],
    ],
    ids=lambda words: words[0],
)
def test_the_end_of_a_lease_is_the_end_of_what_is_kept(
    hopper: Callable[..., Outcome], task: str, home: Path, end: list[str]
) -> None:
    hopper("task", "claim", "--instance", "run")
    assert hopper("task", end[0], task, *end[1:]).code == 0
    assert json.loads((home / "leases").read_text()) == []


def test_another_session_does_not_use_the_lease(
    hopper: Callable[..., Outcome], task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hopper("task", "claim", task, session="one")
    assert hopper("task", "complete", task, session="two").code == 1
    assert "This session keeps no lease" in capsys.readouterr().err
    assert hopper("task", "complete", task, session="one").code == 0


def test_another_worker_of_the_session_does_not_use_the_lease(
    hopper: Callable[..., Outcome], task: str
) -> None:
    hopper("task", "claim", task, "--worker", "a")
    assert hopper("task", "complete", task, "--worker", "b").code == 1
    assert hopper("task", "complete", task, "--worker", "a").code == 0


def test_the_file_is_readable_by_its_owner_alone(
    hopper: Callable[..., Outcome], task: str, home: Path
) -> None:
    hopper("task", "claim", task)
    assert stat.S_IMODE((home / "leases").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content",
    [b"[{", b"\xff\xfe", b"null", b'{"a": 1}', b"[1, null]", b"[" * 100_000, b'[{"place": "x"}]'],
    ids=lambda content: repr(content[:8]),
)
def test_a_damaged_file_loses_what_was_kept_and_nothing_else(
    hopper: Callable[..., Outcome], task: str, home: Path, content: bytes
) -> None:
    home.mkdir()
    (home / "leases").write_bytes(content)
    assert hopper("hook", "beat").code == 0
    assert hopper("task", "claim", task).code == 0
    assert hopper("task", "complete", task).code == 0


@pytest.mark.parametrize("damage", [{"seconds": "x"}, {"extended_at": None}, {"more": 1}])
def test_a_damaged_lease_does_not_take_the_others_with_it(
    hopper: Callable[..., Outcome], task: str, home: Path, damage: dict[str, object]
) -> None:
    hopper("task", "claim", task)
    (row,) = json.loads((home / "leases").read_text())
    (home / "leases").write_text(json.dumps([{**row, "task_id": "task-1", **damage}, row]))
    assert hopper("hook", "beat").code == 0
    assert hopper("task", "complete", task).code == 0


def test_a_lease_that_is_over_is_kept_no_longer(
    hopper: Callable[..., Outcome], task: str, home: Path
) -> None:
    hopper("task", "claim", task)
    hopper("task", "cancel", task)
    assert hopper("task", "complete", task).code == 1
    assert json.loads((home / "leases").read_text()) == []


def test_the_hook_beats_where_a_third_of_the_lease_has_passed(
    hopper: Callable[..., Outcome], task: str
) -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        hopper("task", "claim", task, "--lease", "30")
        for _ in range(20):
            clock.shift(20)
            assert hopper("hook", "beat").code == 0
            expire_leases()
        assert Task.objects.get().status == "claimed"
        assert hopper("hook", "beat", session="two").code == 0


def test_the_hook_at_the_end_gives_the_leases_of_its_session_back(
    hopper: Callable[..., Outcome], task: str
) -> None:
    hopper("task", "claim", task)
    assert hopper("hook", "end", session="two").code == 0
    assert Task.objects.get().status == "claimed"
    assert hopper("hook", "end").code == 0
    assert [row.outcome for row in Attempt.objects.all()] == ["released"]


def test_prime_shows_an_agent_its_tasks_and_the_next_step(
    hopper: Callable[..., Outcome], task: str
) -> None:
    hopper("lesson", "add", "--title", "Use tabs", "--domain", "style", "--project", "web")
    hopper("task", "claim", task, "--worker", "a")
    hopper("task", "fail", task, "--error", "no disk")
    Task.objects.update(retry_at=None)
    hopper("task", "claim", task, "--worker", "a")
    hopper("task", "heartbeat", task, "--checkpoint", '{"step": 7}')
    told = hopper("prime", "--worker", "a").out
    for part in (
        "you work as a", task, "The whole brief", '{"step": 7}', "no disk", "Use tabs",
        f"hopper task complete {task}",
    ):  # fmt: skip
        assert part in told, part


def test_prime_is_bounded(hopper: Callable[..., Outcome], task: str) -> None:
    Task.objects.update(description="word " * 50_000)
    hopper("task", "claim", task)
    told = hopper("prime", "--tokens", "200").out
    assert len(told) < 1000
    assert task in told


def test_prime_stays_in_its_bound_with_thirty_tasks_in_any_language(
    hopper: Callable[..., Outcome], task: str
) -> None:
    run = Task.objects.get().instance
    run.config = {"max_concurrent_tasks": 100}
    run.save(update_fields=["config"])
    ids = [TaskFactory(instance=run, description="仕事の説明。" * 400).pk for _ in range(30)]
    for id in ids:
        claim_task(id, worker="a", actor=ALICE)
    told = hopper("prime", "--worker", "a", "--tokens", "2000").out.rstrip("\n")
    assert len(told.encode()) <= 8000
    assert all(id in told for id in ids)
    assert "more did not fit" in told


def test_prime_shows_a_lease_that_was_lost_to_another_worker(
    hopper: Callable[..., Outcome], task: str
) -> None:
    hopper("task", "claim", task, "--worker", "a")
    release_task(task, token=Attempt.objects.get().lease_token, actor=ALICE)
    claim_task(task, worker="b", actor=ALICE)
    told = hopper("prime", "--worker", "a").out
    assert f"Your lease of {task} is over" in told
    assert "You hold no task." in told


def test_prime_without_a_task_shows_where_work_is_ready(
    hopper: Callable[..., Outcome], task: str
) -> None:
    assert "hopper task claim --instance run" in hopper("prime", "--worker", "a").out


@pytest.mark.parametrize("agent", ["claude", "codex", "gemini", "cursor", "copilot"])
def test_prime_answers_in_the_form_of_an_agents_hook(
    hopper: Callable[..., Outcome], task: str, agent: str
) -> None:
    told = json.loads(hopper("prime", "--hook", agent).out)
    assert "Hopper" in json.dumps(told)


def test_resume_takes_up_what_the_worker_held(hopper: Callable[..., Outcome], task: str) -> None:
    hopper("task", "claim", task, "--worker", "a", session="one")
    told = hopper("resume", "--worker", "a", session="two")
    assert (told.code, task in told.out) == (0, True)
    assert hopper("task", "complete", task, session="two").code == 0


def test_resume_takes_up_the_task_whose_question_was_answered(
    hopper: Callable[..., Outcome], task: str
) -> None:
    hopper("task", "claim", task, "--worker", "a")
    hopper("task", "ask", task, "--question", "MIT?")
    assert "MIT?" in hopper("prime", "--worker", "a").out
    assert hopper("resume", "--worker", "a").code == 1
    answer_question(task, Question.objects.get().pk, answer="yes", back=True, actor=ALICE)
    assert "answer: yes" in hopper("resume", "--worker", "a").out
    assert hopper("task", "complete", task).code == 0


def test_a_session_is_named_by_the_agent_else_by_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HOPPER_SESSION", "CLAUDE_CODE_SESSION_ID", "CLAUDE_SESSION_ID", "CODEX_THREAD_ID",
                 "GEMINI_SESSION_ID"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    terminal = session_name()
    assert terminal == session_name()
    monkeypatch.setenv("CODEX_THREAD_ID", "t-1")
    assert session_name() == "t-1" != terminal
