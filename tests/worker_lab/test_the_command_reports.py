"""The command of a worker reports on its own task with nothing but its lease."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model

from instances.models import AgentToken, Attempt, Task
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


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("sound")
def test_a_command_keeps_a_checkpoint_and_completes_without_a_token(
    site: Site, tmp_path: Path
) -> None:
    run = InstanceFactory(scope="PROJECT", name="run")
    task = TaskFactory(instance=run)
    bob = get_user_model().objects.create(username="bob")
    _, secret = AgentToken.objects.create(bob, name="bob", role="worker", instance=run)
    hopper = " ".join(HOPPER)
    script = (
        f'env | grep HOPPER_TOKEN && exit 9; {hopper} task heartbeat "$HOPPER_TASK_ID" '
        f"""--checkpoint '{{"step": 2}}' --progress 0.5 >/dev/null && """
        f'{hopper} task complete "$HOPPER_TASK_ID" --result 7 >/dev/null; echo 8'
    )
    environ = {"HOPPER_URL": site.addresses[0], "HOPPER_TOKEN": secret}
    done = subprocess.run(
        [*HOPPER, "worker", "w", "--instance", "run", "--max-tasks", "1", "--", "sh", "-c", script],
        env={**clean_environ(), **environ, "HOPPER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 completed"), done.stderr
    attempt = Attempt.objects.get(task=task)
    assert (attempt.checkpoint, attempt.progress) == ({"step": 2}, 0.5)
    assert Task.objects.get(pk=task.pk).result == 7
