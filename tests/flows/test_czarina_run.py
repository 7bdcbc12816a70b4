"""A real run of Czarina: its briefs become tasks, processes work them off in dependency order."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from instances.models import Event, HopperInstance, Task
from tests.factories import InstanceFactory
from tests.soundness import unsound

RUN = Path(__file__).parents[2].parent / "shared" / "data" / "czarina-run"
HOPPER = Path(sys.executable).with_name("hopper")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not RUN.exists(), reason=f"the run's data is not at {RUN}"),
]


def _hopper(environ: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [str(HOPPER), *arguments], env=environ, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _work_off(run: str, environ: dict[str, str]) -> None:
    command = [sys.executable, "-c", "import json,sys; print(json.load(sys.stdin)['title'])"]
    workers = [
        subprocess.Popen(
            [str(HOPPER), "--local", "worker", f"agent-{n}", "--instance", run, "--idle-exit",
             "8", "--", *command],
            env=environ,
            stdout=subprocess.DEVNULL,
        )
        for n in range(2)
    ]  # fmt: skip
    for worker in workers:
        assert worker.wait(timeout=180) == 0


def test_a_run_is_worked_off_in_dependency_order_and_bubbles_to_the_top(
    child_environ: dict[str, str],
) -> None:
    top = InstanceFactory(name="hopper-global")
    _hopper(child_environ, "--local", "run", "start", str(RUN / "config.json"))
    run = HopperInstance.objects.get(scope="ORCHESTRATION")
    assert run.standing().effective == "running"
    assert [line.scope for line in run.lineage()] == ["GLOBAL", "PROJECT", "ORCHESTRATION"]
    config = json.loads((RUN / "config.json").read_text())
    tasks = {task.title: task for task in Task.objects.all()}
    assert len(tasks) == len(config["workers"]) == 7
    briefs = {path.read_text() for path in (RUN / "workers").glob("*.md")}
    assert {task.description for task in tasks.values()} == briefs

    _hopper(child_environ, "--local", "run", "start", str(RUN / "config.json"))
    assert Task.objects.count() == 7

    _work_off(run.pk, child_environ)
    finished = list(Task.objects.order_by("finished_at").values_list("pk", "status"))
    assert {status for _, status in finished} == {"done"}
    place = {pk: n for n, (pk, _) in enumerate(finished)}
    for task in Task.objects.all():
        for before in task.dependencies.values_list("depends_on_id", flat=True):
            assert place[before] < place[task.pk]
    assert Event.objects.filter(instance=top, kind="task.done").count() == 7
    _hopper(child_environ, "--local", "run", "close", run.pk, "--yes")
    run.refresh_from_db()
    assert run.status == "terminated"
    assert unsound() == []
