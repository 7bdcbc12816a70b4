"""The test database: emptied between transactional tests, and open to child processes."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.conf import settings

from hopper.actors import SYSTEM
from instances.models import HopperInstance
from instances.tree.shape import create_instance

COUNT = (
    "import django; django.setup();"
    "from instances.models import HopperInstance; print(HopperInstance.objects.count())"
)


def plant() -> None:
    root = create_instance("root", scope="GLOBAL", actor=SYSTEM)
    create_instance("leaf", scope="PROJECT", parent_id=root.id, actor=SYSTEM)


@pytest.mark.parametrize("turn", [1, 2])
@pytest.mark.usefixtures("transactional_db")
def test_each_transactional_test_finds_an_empty_tree(turn: int) -> None:
    assert not HopperInstance.objects.exists()
    plant()


def test_a_child_process_sees_what_was_committed(child_environ: dict[str, str]) -> None:
    plant()
    result = subprocess.run(
        [sys.executable, "-c", COUNT],
        cwd=settings.BASE_DIR,
        env=child_environ,
        capture_output=True,
        text=True,
    )
    assert (result.stdout.strip(), result.stderr) == ("2", "")
