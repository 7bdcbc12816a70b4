"""Measure: `make bench` prints the figures on a throw-away PostgreSQL, each ratio from one run.

Procrastinate is measured beside Hopper where it is installed (`pip install procrastinate`).
`python -m tests.bench decisions` measures one part, on the database that HOPPER_DATABASE_URL names.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

SECONDS = float(os.environ.get("HOPPER_BENCH_SECONDS", "5"))
PROCESSES = (1, 4, 8)
PROJECTS = 100
WARM, ROUTED = 100, 500
SPAN = float


def main() -> None:
    """Print every figure, one a line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hopper.settings")
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    say("machine", f"{os.cpu_count()} cores, {SECONDS:g} s a point")
    for part in sys.argv[1:] or ("claims", "claims_behind", "accepts", "decisions", "appends"):
        globals()[part]()


def say(what: str, figure: object) -> None:
    """Print one figure."""
    sys.stdout.write(f"{what:<52} {figure}\n")
    sys.stdout.flush()


def claims() -> None:
    """Claim and complete, one task at a time, beside Procrastinate's fetch and finish."""
    from tests.factories import InstanceFactory

    project = InstanceFactory(scope="PROJECT", name="bench")
    run = InstanceFactory(
        scope="ORCHESTRATION",
        name="run",
        parent=project,
        config={"max_concurrent_tasks": 1000, "max_queued_tasks": 10**6},
    )
    peer = bool(find_spec("procrastinate"))
    for processes in PROCESSES:
        fill(run.pk, int(SECONDS * 1200))
        ours = rate("tests.bench:claim_and_complete", [(run.pk, SECONDS)] * processes)
        say(f"claim+complete, {processes} process(es), tasks/s", f"{ours:.0f}")
        if peer:
            asyncio.run(peer_fill(int(SECONDS * 1500)))
            theirs = rate("tests.bench:peer_fetch_and_finish", [(SECONDS,)] * processes)
            say(
                f"  procrastinate fetch+finish, {processes} process(es), jobs/s",
                f"{theirs:.0f}  (ratio {ours / theirs:.2f})",
            )


def claims_behind() -> None:
    """Claim by capability and by tag while tasks for others stand in front."""
    from instances.tasks.worker import claim_next, complete_task
    from tests.factories import ALICE, InstanceFactory

    project = InstanceFactory(scope="PROJECT", name="behind")
    others = {"required_capabilities": ["gpu"], "tags": ["slow"]}
    mine = {"required_capabilities": ["web"], "tags": ["quick"]}
    for wish in ({"capabilities": ["web", "shell"]}, {"tags": ["quick"]}):
        for ahead in (0, 20_000):
            run = InstanceFactory(scope="ORCHESTRATION", parent=project)
            fill(run.pk, ahead, **others)
            fill(run.pk, 60, **mine)
            spans = []
            for _ in range(60):
                began = time.perf_counter()
                (lease,) = claim_next(run.pk, worker="w", actor=ALICE, **wish).leases
                spans.append((time.perf_counter() - began) * 1000)
                complete_task(lease.task.pk, token=lease.token, actor=ALICE)
            say(f"claim by {' '.join(wish)}, {ahead} others ahead, ms", f"{median(spans):.2f}")


def fill(instance_id: str, count: int, **values: Any) -> None:
    """Put ready tasks into a queue, in bulk: the claim is what is measured."""
    from django.utils import timezone

    from hopper.ids import new_id
    from instances.models import Task

    now = timezone.now()
    rows = []
    for n in range(count):
        pk = new_id("task")
        rows.append(
            Task(
                id=pk,
                title=f"t{n}",
                root_id=pk,
                instance_id=instance_id,
                origin_id=instance_id,
                queue_at=now,
                created_at=now,
                updated_at=now,
                **values,
            )
        )
        rows[-1].queue_from(now)
    Task.objects.bulk_create(rows, batch_size=2000)


def rate(member: str, calls: list[tuple[Any, ...]]) -> float:
    """Return the sum of what the members did, by second."""
    from tests.concurrency.crowd import crowd

    return sum(crowd(dict(os.environ), member, calls)) / SECONDS


def until_done(seconds: SPAN, once: Callable[[], bool]) -> int:
    """Count how often `once` succeeds until time is up."""
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        count += once()
    return count


def claim_and_complete(instance_id: str, seconds: SPAN) -> int:
    """Be one worker."""
    from instances.tasks.worker import claim_next, complete_task
    from tests.factories import ALICE

    def once() -> bool:
        for lease in claim_next(instance_id, worker=f"w{os.getpid()}", actor=ALICE).leases:
            complete_task(lease.task.pk, token=lease.token, result=None, actor=ALICE)
            return True
        return False

    return until_done(seconds, once)


async def peer_fill(count: int) -> None:
    """Defer jobs to Procrastinate, in batches."""
    app = _peer()
    async with app.open_async():
        status = await app.connector.execute_query_one_async(
            "SELECT to_regclass('procrastinate_jobs') AS there"
        )
        if status["there"] is None:
            await app.schema_manager.apply_schema_async()
        task = app.tasks["bench"]
        for _ in range(0, count, 500):
            await task.batch_defer_async(*({"n": n} for n in range(500)))


def peer_fetch_and_finish(seconds: SPAN) -> int:
    """Be one of Procrastinate's workers, without its loop."""
    return asyncio.run(_peer_loop(seconds))


async def _peer_loop(seconds: SPAN) -> int:
    from procrastinate.jobs import Status

    app = _peer()
    count = 0
    async with app.open_async():
        worker = await app.job_manager.register_worker()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            job = await app.job_manager.fetch_job(queues=None, worker_id=worker)
            if job is None:
                continue
            await app.job_manager.finish_job(job, status=Status.SUCCEEDED, delete_job=False)
            count += 1
    return count


def _peer() -> Any:
    import procrastinate
    from django.db import connection

    values = connection.get_connection_params()
    known = ("host", "port", "user", "password", "dbname")
    conninfo = " ".join(f"{key}={values[key]}" for key in known if values.get(key))
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=conninfo))
    app.task(name="bench")(lambda n: n)
    return app


def accepts() -> None:
    """Accept offers to one hot target from 8 processes: the shared row lock of R6."""
    from delegation.delegator import Delegator
    from tests.factories import ALICE, InstanceFactory, TaskFactory

    top = InstanceFactory(name="accept-top")
    target = InstanceFactory(
        scope="PROJECT", parent=top, name="hot", config={"max_queued_tasks": 10**6}
    )
    shares = []
    for _ in range(8):
        tasks = [TaskFactory(instance=top).pk for _ in range(60)]
        offers = [Delegator(ALICE).delegate_task(pk, target.pk).delegation.pk for pk in tasks]
        shares.append((offers,))
    from tests.concurrency.crowd import crowd

    spans = crowd(dict(os.environ), "tests.bench:accept_all", shares)
    say("accept on one hot target, 8 processes, accepts/s", f"{8 * 60 / max(spans):.0f}")


def accept_all(delegation_ids: list[str]) -> float:
    """Accept each, and return the seconds it took."""
    from delegation.delegator import Delegator
    from tests.factories import ALICE

    began = time.monotonic()
    for pk in delegation_ids:
        Delegator(ALICE).accept_delegation(pk)
    return time.monotonic() - began


def decisions() -> None:
    """Decide and place tasks at a GLOBAL of 100 projects under 500 rules."""
    from django.db import connection
    from django.test.utils import override_settings
    from django.utils import timezone

    from hopper.config.files import CONFIGURATION
    from tests.factories import InstanceFactory, TaskFactory

    with TemporaryDirectory() as folder, override_settings(HOPPER_CONFIG_DIR=folder):
        Path(folder, "routing_rules.yaml").write_text(yaml.safe_dump({"rules": five_hundred()}))
        CONFIGURATION.reload()
        top = InstanceFactory(name="decide-top")
        for n in range(PROJECTS):
            config = {"capabilities": [f"can{n}", "any"], "domains": [f"domain{n}", "shared"]}
            project = InstanceFactory(scope="PROJECT", parent=top, name=f"p{n}", config=config)
            InstanceFactory(scope="ORCHESTRATION", parent=project)
        spans, since = [], timezone.now()
        for n in range(WARM + ROUTED):
            if n == WARM:
                # What the database's own housekeeping does within a minute.
                with connection.cursor() as cursor:
                    cursor.execute("ANALYZE")
                spans, since = [], timezone.now()
            words = f"Task {n} about word{n % 900} and topic{n % 70}"
            began = time.perf_counter()
            TaskFactory(
                instance=top,
                title=words,
                description=words * 20,
                tags=["any", f"tag{n % 300}"],
                complexity=n % 5 + 1,
            )
            spans.append((time.perf_counter() - began) * 1000)
        for name, figures in decided(top.pk, since).items():
            say(f"{name}, p50 and p99 ms", percentiles(figures))
        say("created and placed, p50 and p99 ms", percentiles(spans))


def five_hundred() -> list[dict[str, Any]]:
    """Return rules of every simple kind, in turn."""
    kinds: list[Callable[[int], dict[str, Any]]] = [
        lambda n: {"type": "keyword", "keywords": [f"word{n}", f"two words {n}", f"topic{n}"]},
        lambda n: {"type": "tag", "optional_tags": [f"tag{n}"], "tag_patterns": [f"^area-{n}-"]},
        lambda n: {"type": "pattern", "pattern": rf"\bticket-{n}\d*\b"},
        lambda n: {"type": "project", "projects": [f"label-{n}"]},
        lambda n: {
            "type": "composite",
            "operator": "and",
            "sub_rules": [
                {"type": "priority", "min_priority": "high"},
                {"type": "keyword", "keywords": [f"urgent{n}"]},
            ],
        },
    ]
    return [
        {
            "id": f"r{n}",
            "destination": f"project:p{n % PROJECTS}",
            "priority": n % 10,
            **kinds[n % 5](n),
        }
        for n in range(500)
    ]


def decided(top_id: str, since: datetime) -> dict[str, list[float]]:
    """Return the milliseconds of each decision at the top: with its reading, and without."""
    from scopes.deciding import get_behavior_for_scope
    from scopes.models import RoutingDecision
    from scopes.record import restored

    records = list(RoutingDecision.objects.filter(instance=top_id, created_at__gt=since))
    behavior, pure = get_behavior_for_scope("GLOBAL"), []
    for record in records:
        situation = restored(record.situation)
        began = time.perf_counter()
        behavior.decide(situation)
        pure.append((time.perf_counter() - began) * 1000)
    return {
        "decision, 100 projects, 500 rules": pure,
        "  with all it reads": [record.elapsed_ms for record in records],
    }


def percentiles(figures: list[float]) -> str:
    """Return the median and the 99th percentile."""
    ordered = sorted(figures)
    return f"{median(ordered):.1f} {ordered[int(len(ordered) * 0.99)]:.1f}  ({len(ordered)})"


def appends() -> None:
    """Append one instance to a tree of 1,000 and of 10,000."""
    from instances.models import HopperInstance
    from tests.factories import InstanceFactory

    top = InstanceFactory(name="append-top")
    made = 0
    for size in (1000, 10_000):
        grow(top.pk, size - made)
        made = size
        middle = HopperInstance.objects.filter(parent=top)[made // 40]
        spans = []
        for _ in range(15):
            began = time.perf_counter()
            InstanceFactory(scope="ORCHESTRATION", parent=middle, running=False)
            spans.append((time.perf_counter() - began) * 1000)
        say(f"append at {size} nodes, median and worst ms", f"{median(spans):.1f} {max(spans):.1f}")
    hierarchy(top.pk)


def hierarchy(top_id: str) -> None:
    """Ask for the whole tree through the REST stack, without a socket."""
    from django.test import Client

    client = Client(**{"hopper.local_operator": "bench", "HTTP_HOST": "localhost"})
    spans, size = [], 0
    for _ in range(5):
        began = time.perf_counter()
        answer = client.get(f"/api/v1/instances/{top_id}/hierarchy")
        spans.append((time.perf_counter() - began) * 1000)
        size = len(answer.content)
    say("hierarchy of 10,000 over REST, median ms", f"{median(spans):.0f}  ({size // 1024} KiB)")


def grow(top_id: str, count: int) -> None:
    """Make projects of 19 runs each below the top, by pointers, and number them once."""
    from django.utils import timezone

    from instances.models import HopperInstance, InstanceLoad
    from instances.tree.shape import rebuild_tree

    now, rows, project = timezone.now(), [], ""
    start = HopperInstance.objects.count()
    for n in range(count):
        scope = "ORCHESTRATION" if n % 20 else "PROJECT"
        pk = f"g{start + n}"
        project = project if n % 20 else pk
        rows.append(
            HopperInstance(
                id=pk,
                name=pk,
                name_key=pk,
                scope=scope,
                parent_id=project if n % 20 else top_id,
                created_at=now,
                updated_at=now,
                lft=0,
                rght=0,
                tree_id=0,
                level=0,
                status="running",
            )
        )
    HopperInstance.objects.bulk_create(rows, batch_size=1000)
    InstanceLoad.objects.bulk_create(InstanceLoad(instance=row) for row in rows)
    rebuild_tree()


if __name__ == "__main__":
    main()
