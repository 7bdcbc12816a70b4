"""Servers die at any commit, also of the one who stamps: a reader of the feed misses nothing."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3

from instances.history import feed, stamp_all
from instances.models import Event, HopperInstance
from tests.crash.site import Site
from tests.crash.worlds import tree
from tests.soundness import unsound

pytestmark = [pytest.mark.storm, pytest.mark.django_db(transaction=True)]


def _poll(address: str, over: threading.Event, seen: list[dict[str, Any]]) -> None:
    """Read the feed until it is over and nothing more comes; no answer is asked for again."""
    pool = urllib3.PoolManager(retries=False, timeout=60)
    while True:
        was_over = over.is_set()
        after = seen[-1]["id"] if seen else 0
        try:
            answer = pool.request("GET", f"{address}/api/v1/events?after={after}&limit=20")
            rows = answer.json()["results"] if answer.status == 200 else None
        except urllib3.exceptions.HTTPError:
            rows = None
        seen += rows or []
        if rows == [] and was_over:
            return
        time.sleep(random.uniform(0, 0.02))


def test_three_pollers_of_servers_that_die_see_every_event_once(
    tmp_path: Path, child_environ: dict[str, str], storm: Callable[[int, int], int]
) -> None:
    roomy = {"max_queued_tasks": 100_000, "max_attempts": 100}
    run = tree(**roomy)
    HopperInstance.objects.filter(pk=run.pk).update(config=roomy)
    site = Site(tmp_path, child_environ, commits=25)
    over = threading.Event()
    seen: list[list[dict[str, Any]]] = [[], [], []]
    try:
        site.open(worker=storm(2, 12), client=storm(2, 4), sweeper=1)
        pollers = [
            threading.Thread(target=_poll, args=(site.addresses[0], over, one), daemon=True)
            for one in seen
        ]
        for poller in pollers:
            poller.start()
        for _ in range(storm(2, 20)):
            time.sleep(random.uniform(1, 3))
            site.replace_the_dead()
            site.kill_server()
        assert site.calm_down(storm(120, 600))
        over.set()
        for poller in pollers:
            poller.join(60)
    finally:
        over.set()
        site.close()
    stamp_all()
    whole = list(feed(Event.objects.all()).values_list("number", flat=True))
    assert len(whole) > 50
    assert [[event["id"] for event in one] for one in seen] == [whole] * 3
    assert site.trouble() == []
    assert unsound() == []
