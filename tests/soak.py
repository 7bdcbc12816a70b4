"""A soak: a whole site at work while its processes, or its databases, are killed; prints figures.

`python -m tests.postgres -- python -m tests.soak --minutes 10` kills processes.
`python -m tests.soak --failovers 20` kills the primary beside a synchronous standby.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.standby import pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.crash.site import Site
    from tests.standby import Pair

SERVERS, WORKERS, CLIENTS, SWEEPERS = 2, 8, 2, 2  # each server has two processes
BETWEEN_KILLS = 1.0  # seconds, on average
COMMITS = 100  # a server or sweeper dies at one in so many of its commits
PAUSE = 0.2  # seconds between two calls of a client, on average
ROUNDS = 2.0  # seconds between two sweeps
BETWEEN_FAILOVERS = 20  # acknowledged changes, at least
PATIENCE = 180  # seconds until all work has to be finished after the last kill
WINDOW = 60  # seconds at the start and at the end in which claims are timed


def main() -> int:
    """Run the soak and print its figures as JSON; return 0 where nothing was lost or done twice."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long processes are killed")
    parser.add_argument("--failovers", type=int, default=0, help="kill so many primaries instead")
    chosen = parser.parse_args()
    if not chosen.failovers:
        figures = soak(lambda site: _kill_at_random(site, chosen.minutes * 60))
    else:
        with pair() as servers:
            os.environ["HOPPER_DATABASE_URL"] = servers.url
            figures = soak(lambda site: _kill_primaries(site, servers, chosen.failovers))
    print(json.dumps(figures, indent=2))
    sound = not (figures["lost"] or figures["done_twice"] or figures["check"])
    return 0 if sound and figures["all_work_finished"] else 1


def soak(disturb: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """Let a site work while `disturb` kills parts of it, then finish; return the figures."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hopper.settings")
    os.environ |= {"HOPPER_LOG_LEVEL": "ERROR", "PYTHONWARNINGS": "ignore"}
    os.environ.setdefault("HOPPER_SECRET_KEY", "only for a soak " * 4)
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    return _disturbed(disturb)


def _disturbed(disturb: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    from tests.crash.site import Site

    _grow_tree()
    with tempfile.TemporaryDirectory(prefix="hopper-soak-") as folder:
        site = Site(
            *(Path(folder), dict(os.environ)),
            servers=SERVERS,
            commits=COMMITS,
            pause=PAUSE,
            rounds=ROUNDS,
        )
        try:
            began = time.time()
            site.open(worker=WORKERS, client=CLIENTS, sweeper=SWEEPERS)
            while_running = disturb(site)
            ended = time.time()
            return {
                "seconds": round(ended - began),
                "all_work_finished": site.calm_down(PATIENCE),
                **_outcome(site),
                "claim_ms_at_the_start": _claims(site, began, began + WINDOW),
                "claim_ms_at_the_end": _claims(site, ended - WINDOW, ended),
                "while_running": while_running,
            }
        finally:
            site.close()


def _outcome(site: Site) -> dict[str, Any]:
    from delegation.audit import audit
    from instances.models import Task
    from instances.waiting import count_reasons
    from tests.crash.ledger import compare

    compared = compare(site.folder)
    statuses = Counter(Task.objects.values_list("status", flat=True))
    return {
        "tasks_done": statuses["done"],
        "tasks": dict(statuses),
        "what_is_left_waits_for": count_reasons(Task.objects.all()),
        "kills": site.kills(),
        "killed": dict(site.killed) | _died_at_commits(site),
        "lost": compared["lost"],
        "done_twice": compared["twice"],
        "trouble": site.trouble(),
        "check": [str(finding) for finding in audit()],
    }


def _grow_tree() -> None:
    from instances.models import HopperInstance
    from tests.crash.worlds import tree

    roomy = {"max_queued_tasks": 100_000, "max_attempts": 100, "max_concurrent_tasks": 200}
    run = tree(**roomy)
    HopperInstance.objects.filter(pk=run.pk).update(config=roomy)


def _kill_at_random(site: Any, seconds: float) -> dict[str, int]:
    """Kill processes, and now and then a whole server; count the checks made once a minute."""
    from delegation.audit import audit

    until = time.monotonic() + seconds
    made = Counter(clean=0, breached=0)
    next_check = time.monotonic() + WINDOW
    while time.monotonic() < until:
        time.sleep(random.uniform(0, 2 * BETWEEN_KILLS))
        site.replace_the_dead()
        if random.random() < 0.02:
            site.kill_server()
        else:
            site.kill_hand()
        if time.monotonic() > next_check:
            findings = audit()
            made["breached" if findings else "clean"] += 1
            for finding in findings:
                print(finding, file=sys.stderr)
            next_check = time.monotonic() + WINDOW
    return dict(made)


def _kill_primaries(site: Any, servers: Pair, times: int) -> dict[str, Any]:
    """Kill the primary `times` times; return the seconds until the next acknowledged change."""
    from tests.crash.ledger import entries

    def await_changes(number: int) -> None:
        until, wanted = time.monotonic() + PATIENCE, acknowledged() + number
        while acknowledged() < wanted:
            if time.monotonic() > until:
                why = "\n".join(site.trouble())
                raise TimeoutError(f"no change was acknowledged in {PATIENCE} s\n{why}")
            time.sleep(0.05)

    def acknowledged() -> int:
        return sum(entry["what"] in {"created", "completed"} for entry in entries(site.folder))

    gaps = []
    for _ in range(times):
        await_changes(BETWEEN_FAILOVERS)
        began = time.monotonic()
        servers.fail_over()
        await_changes(1)
        gaps.append(round(time.monotonic() - began, 1))
    return {"failovers": times, "seconds_without_changes": gaps}


def _died_at_commits(site: Any) -> dict[str, int]:
    from tests.crash.ledger import entries

    dead = (entry["who"] for entry in entries(site.folder) if entry["what"] == "killed")
    return dict(Counter(f"{who.partition('-')[0]} at a commit" for who in dead))


def _claims(site: Any, after: float, before: float) -> dict[str, float]:
    """Return how many claims brought a task between two moments, their median and p99 in ms."""
    from tests.crash.ledger import entries

    took = sorted(
        entry["seconds"] * 1000
        for entry in entries(site.folder)
        if entry["what"] == "granted" and after <= entry["at"] < before
    )
    if not took:
        return {"count": 0}
    at = {name: took[min(len(took) - 1, int(len(took) * q))] for name, q in _QUANTILES.items()}
    return {"count": len(took), **{name: round(value, 1) for name, value in at.items()}}


_QUANTILES = {"p50": 0.5, "p99": 0.99}

if __name__ == "__main__":
    sys.exit(main())
