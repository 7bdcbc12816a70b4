"""`hopper_demo`: a stranger sees tasks fall and completions rise; again it is harmless."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from delegation.audit import audit
from delegation.management.commands.hopper_demo import STORY, build_hierarchy, read_story
from delegation.models import TaskDelegation
from hopper.errors import Conflict
from instances.lifecycle.actions import stop_instance, terminate_instance
from instances.models import Attempt, HopperInstance, Task
from tests.factories import ALICE

pytestmark = pytest.mark.django_db(transaction=True)


def demo(environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "hopper_demo"],
        cwd=settings.BASE_DIR,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
    )


def working(program: str, url: str) -> list[str]:
    """The processes of this machine whose command line contains a text, at that database."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line, environ = (
                Path(f"/proc/{pid}/{name}")
                .read_bytes()
                .replace(b"\0", b" ")
                .decode(errors="replace")
                for name in ("cmdline", "environ")
            )
        except OSError:
            continue
        if program in line and f"HOPPER_DATABASE_URL={url} " in environ:
            found.append(line)
    return found


@pytest.mark.slow
def test_the_demo_works_off_its_tasks_and_can_be_repeated(child_environ: dict[str, str]) -> None:
    first = demo(child_environ)
    assert first.returncode == 0, first.stdout + first.stderr
    story = read_story(STORY)
    for_workers = [told for told in story.tasks if "rests" not in told]
    resting = {told["title"]: told["rests"] for told in story.tasks if "rests" in told}
    done = Task.objects.filter(status="done")
    assert sorted(done.values_list("title", flat=True)) == sorted(
        told["title"] for told in for_workers
    )
    assert dict(Task.objects.open().values_list("title", "instance_id")) == resting
    assert all(result["did"] for result in done.values_list("result", flat=True))
    workers = set(Attempt.objects.values_list("worker", flat=True))
    assert workers == {"worker-1", "worker-2", "worker-3"}
    assert TaskDelegation.objects.filter(status="completed").count() == 2 * len(for_workers)
    assert "czarina-run-001 (ORCHESTRATION) [running]" in first.stdout
    assert "route: hopper-global → czarina [completed]" in first.stdout
    assert f"✓ {len(for_workers)} tasks done by 3 worker processes" in first.stdout
    assert first.stdout.count("hop_") >= 1
    program = "hopper.cli.main --local worker worker-1 --instance czarina-run-001"
    assert working(program, child_environ["HOPPER_DATABASE_URL"]) == []

    instances = set(HopperInstance.objects.values_list("pk", flat=True))
    second = demo(child_environ)
    assert second.returncode == 0, second.stdout + second.stderr
    assert set(HopperInstance.objects.values_list("pk", flat=True)) == instances
    assert dict(Task.objects.open().values_list("title", "instance_id")) == resting
    assert "hop_" not in second.stdout
    assert audit() == []


def test_missing_instances_are_made_and_stopped_ones_started() -> None:
    story = read_story(STORY)
    built = build_hierarchy(story, actor=ALICE)
    assert built.found == []
    assert built.made[0] == "hopper-global"
    assert story.runs == ["czarina-run-001", "czarina-run-002", "sark-analysis-001"]
    stop_instance("czarina-run-002", actor=ALICE)
    again = build_hierarchy(story, actor=ALICE)
    assert again.made == []
    assert again.found == built.made
    assert set(HopperInstance.objects.values_list("status", flat=True)) == {"running"}
    assert audit() == []


def test_a_terminated_instance_is_not_made_again() -> None:
    story = read_story(STORY)
    build_hierarchy(story, actor=ALICE)
    terminate_instance("czarina-run-002", actor=ALICE)
    with pytest.raises(Conflict, match="an id is never used twice"):
        build_hierarchy(story, actor=ALICE)
