"""While the files change under it, each decision knows one configuration and never half of two."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hopper.config.files import CONFIGURATION
from instances.models import Task
from scopes.models import RoutingDecision
from scopes.record import restored
from scopes.replay import replay
from scopes.settings import config_digest
from tests.factories import InstanceFactory, TaskFactory
from tests.soundness import unsound

pytestmark = [pytest.mark.unmeasured, pytest.mark.django_db(transaction=True)]

RULES = 'rules: [{{id: r, type: tag, destination: "project:{}", required_tags: [page]}}]\n'
BEHAVIORS = "PROJECT: {{routing: {{orchestration_threshold: {}}}}}\n"

PROGRAM = """
import sys, django
django.setup()
from hopper.config.files import CONFIGURATION
from tests.factories import TaskFactory
from instances.models import HopperInstance
top = HopperInstance.objects.get(pk="top")
for _ in range(int(sys.argv[1])):
    CONFIGURATION.look_again()
    TaskFactory(instance=top, tags=["page"], complexity=3)
"""


@pytest.fixture
def folders(tmp_path: Path, settings) -> tuple[Path, Path, Path]:
    """Two configurations that differ in two files, and a link that leads to one of them."""
    for name, project, threshold in (("one", "web", 2), ("two", "ops", 5)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "routing_rules.yaml").write_text(RULES.format(project))
        (tmp_path / name / "scope_behaviors.yaml").write_text(BEHAVIORS.format(threshold))
    link = tmp_path / "config"
    link.symlink_to(tmp_path / "one")
    settings.HOPPER_CONFIG_DIR = str(link)
    return tmp_path / "one", tmp_path / "two", link


def swap(link: Path, target: Path) -> None:
    """Let the link lead elsewhere, at one stroke."""
    new = link.with_name("new")
    new.symlink_to(target)
    new.replace(link)


def consistent(*folders: Path) -> set[str]:
    """Return which folders decisions were made under; each under one of them, and as it says."""
    used = set()
    for record in RoutingDecision.objects.all():
        under = {}
        for folder in folders:
            snapshot = CONFIGURATION.load(folder)
            with CONFIGURATION.held(snapshot):
                under[config_digest(restored(record.situation))] = (folder.name, snapshot)
        name, snapshot = under[record.config_digest]
        assert replay([record], snapshot).differences == ()
        used.add(name)
    return used


def test_a_decision_is_made_under_one_configuration_while_threads_swap_the_files(
    folders: tuple[Path, Path, Path],
) -> None:
    one, two, link = folders
    top = InstanceFactory(name="top")
    for name in ("web", "ops"):
        InstanceFactory(scope="PROJECT", parent=top, name=name)
    over = threading.Event()

    def keep_swapping() -> None:
        while not over.wait(0.002):
            swap(link, two if link.resolve() == one else one)
            CONFIGURATION.look_again()

    swapper = threading.Thread(target=keep_swapping)
    swapper.start()
    try:
        for _ in range(15):
            TaskFactory(instance=top, tags=["page"], complexity=3)
    finally:
        over.set()
        swapper.join()
    assert consistent(one, two)
    assert unsound() == []


def test_processes_see_a_change_without_a_restart(
    folders: tuple[Path, Path, Path], child_environ: dict[str, str]
) -> None:
    one, two, link = folders
    top = InstanceFactory(name="top")
    for name in ("web", "ops"):
        InstanceFactory(scope="PROJECT", parent=top, name=name)
    environ = {**child_environ, "HOPPER_CONFIG_DIR": str(link)}
    command = [sys.executable, "-c", PROGRAM, "6"]
    children = [subprocess.Popen(command, env=environ) for _ in range(2)]
    wanted = {"one"}
    while any(child.poll() is None for child in children):
        if Task.objects.exists():
            swap(link, two if link.resolve() == one else one)
            wanted = {"one", "two"}
        time.sleep(0.05)
    assert [child.returncode for child in children] == [0, 0]
    assert Task.objects.count() == 12
    assert consistent(one, two) <= wanted
    assert unsound() == []
