"""Servers, workers, clients and sweepers are killed at any moment: ledger and rows agree."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from instances.models import HopperInstance, Task
from tests.crash.conftest import KILLS
from tests.crash.ledger import compare
from tests.crash.site import Site, run_out
from tests.crash.worlds import tree
from tests.soundness import unsound

FULL = os.environ.get("HOPPER_STORM") == "1"

# The short run is for one database, because a server takes seconds to start.
pytestmark = [
    pytest.mark.storm,
    pytest.mark.django_db(transaction=True),
    *([] if FULL else [pytest.mark.postgres]),
]

BATCH = 20
"""Kills from one look at the invariants to the next."""


@pytest.fixture
def site(tmp_path: Path, child_environ: dict[str, str]) -> Iterator[Site]:
    # Room for all, and patience with tasks whose workers keep dying.
    roomy = {"max_queued_tasks": 100_000, "max_attempts": 100}
    run = tree(**roomy)
    HopperInstance.objects.filter(pk=run.pk).update(config=roomy)
    made = Site(tmp_path, child_environ)
    yield made
    made.close()


def test_nothing_acknowledged_is_lost_and_nothing_done_twice(
    site: Site, storm: Callable[[int, int], int]
) -> None:
    wanted, checked = storm(8, 700), 0
    site.open(worker=4, client=2, sweeper=2)
    while (kills := site.kills()) < wanted:
        time.sleep(random.uniform(0, 0.2))
        site.replace_the_dead()
        if random.random() < 0.03:
            site.kill_server()
        else:
            # The lease of whoever died has to run out; of whoever lives, it makes a zombie.
            run_out(site.kill_hand())
            if random.random() < 0.2:
                run_out(random.choice([who for role, who in site.hands.values()]))
        if kills - checked >= BATCH:
            assert unsound() == []
            checked = kills

    KILLS["at random", "any"] += site.kills()
    assert site.trouble() == []
    assert site.calm_down(120), "work that nobody finishes"
    assert set(Task.objects.values_list("status", flat=True)) == {"done"}
    assert compare(site.folder) == {"lost": [], "twice": []}
    assert unsound() == []
