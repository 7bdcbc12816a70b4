"""The command of a worker reports on its own task with nothing but its lease."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model

from instances.models import AgentToken, Attempt, HopperInstance, Task
from tests.crash.site import Site
from tests.factories import InstanceFactory, TaskFactory
from tests.worker_lab.lab import clean_environ

HOPPER = [sys.executable, "-m", "hopper.cli.main"]


@pytest.fixture(params=["on", "off"])
def site(
    request: pytest.FixtureRequest, child_environ: dict[str, str], tmp_path: Path
) -> Iterator[Site]:
    """A real server that asks for credentials, or for none."""
    made = Site(tmp_path, child_environ, commits=0, auth=request.param)
    made.open()
    yield made
    made.close()


@pytest.fixture
def token_of_bob(transactional_db: None) -> str:
    """The token of a worker at the instance `run`."""
    run = InstanceFactory(scope="PROJECT", name="run")
    bob = get_user_model().objects.create(username="bob")
    return AgentToken.objects.create(bob, name="bob", role="worker", instance=run)[1]


def work(
    site: Site, folder: Path, token: str, script: str, *, tasks: int
) -> subprocess.CompletedProcess[str]:
    """Run a worker with a shell script as command for so many tasks; return its end."""
    environ = {"HOPPER_URL": site.addresses[0], "HOPPER_TOKEN": token, "HOPPER_HOME": str(folder)}
    limit = ["--max-tasks", str(tasks)]
    return subprocess.run(
        [*HOPPER, "worker", "w", "--instance", "run", *limit, "--", "sh", "-c", script],
        env={**clean_environ(), **environ},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("sound")
def test_a_command_keeps_a_checkpoint_and_completes_without_a_token(
    site: Site, tmp_path: Path, token_of_bob: str
) -> None:
    task = TaskFactory(instance=HopperInstance.objects.get(pk="run"))
    hopper = " ".join(HOPPER)
    script = (
        f'env | grep HOPPER_TOKEN && exit 9; {hopper} task heartbeat "$HOPPER_TASK_ID" '
        f"""--checkpoint '{{"step": 2}}' --progress 0.5 >/dev/null && """
        f'{hopper} task complete "$HOPPER_TASK_ID" --result 7 >/dev/null; echo 8'
    )
    done = work(site, tmp_path, token_of_bob, script, tasks=1)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 completed"), done.stderr
    attempt = Attempt.objects.get(task=task)
    assert (attempt.checkpoint, attempt.progress) == ({"step": 2}, 0.5)
    assert Task.objects.get(pk=task.pk).result == 7


@pytest.mark.parametrize("site", ["on"], indirect=True)
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("sound")
def test_a_command_asks_a_question_and_the_worker_goes_on(
    site: Site, tmp_path: Path, token_of_bob: str
) -> None:
    run = HopperInstance.objects.get(pk="run")
    asking = TaskFactory(instance=run, title="asks", priority="urgent")
    other = TaskFactory(instance=run, title="ends")
    script = (
        """grep -q '"title": "ends"' && exit 0; """
        f"""{" ".join(HOPPER)} task ask "$HOPPER_TASK_ID" --question "MIT or Apache?" """
        "--choice MIT --choice Apache >/dev/null || exit 9; exit 7"
    )
    done = work(site, tmp_path, token_of_bob, script, tasks=2)
    assert done.returncode == 0, done.stderr
    (attempt,) = Attempt.objects.filter(task=asking)
    assert (attempt.outcome, attempt.error) == ("asked", "")
    asking.refresh_from_db()
    assert (asking.status, asking.waiting_code, asking.failures) == ("blocked", "InputRequired", 0)
    assert asking.questions.get().asked_by == "w"
    assert Task.objects.get(pk=other.pk).status == "done"
