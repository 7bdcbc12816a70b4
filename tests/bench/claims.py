"""Claims and completions: alternating windows of Hopper, the limit, and Procrastinate."""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING, Any

from tests.bench.figures import SIZE, analyse, compare, cursor, say
from tests.concurrency.crowd import crowd, together
from tests.plans import copies

if TYPE_CHECKING:
    from collections.abc import Callable

TARGETS = {1: 1.0, 4: 1.0, 8: 1.3}
"""The least ratio of claim and complete to the peer's fetch and finish, by processes."""
BATCH = 10
TOGETHER = {"hopper next": 1.8, "hopper batches": 5.0, "hopper next batches": 7.0}
"""The least ratio of reports with the next claim, of batches, and of both, at most processes."""
SPAN = float


def claims() -> None:
    """Claim and complete one task at a time at one hot instance, beside the peer and the limit."""
    age()
    hot = queues("hot", 1)
    for processes in SIZE.processes:
        rates = windows(processes, {"hopper": hot, "limit": hot, **peer()})
        compare(f"claim+complete, {processes} process(es)", rates, "hopper", "limit")
        if "procrastinate" in rates:
            name = f"claim+complete / procrastinate, {processes} process(es)"
            compare(name, rates, "hopper", "procrastinate", target=TARGETS.get(processes))


def together_with_next() -> None:
    """Report and claim the next task in one call, in batches, and both, beside the peer."""
    age()
    hot = queues("hot", 1)
    rates = windows(max(SIZE.processes), dict.fromkeys(("hopper", *TOGETHER), hot) | peer())
    for mode, target in TOGETHER.items():
        compare(f"{mode} / hopper", rates, mode, "hopper")
        if "procrastinate" in rates:
            compare(f"{mode} / procrastinate", rates, mode, "procrastinate", target=target)


def spread() -> None:
    """Compare one hot instance with 20."""
    age()
    modes = {"hopper": queues("hot", 1), "hopper over 20": queues("spread", 20)}
    rates = windows(max(SIZE.processes), modes)
    compare("one hot instance / 20 instances", rates, "hopper", "hopper over 20", target=0.8)


def growth() -> None:
    """Compare claims before and after the table has become five times as long."""
    age()
    hot = queues("hot", 1)
    before = windows(1, {"hopper": hot})["hopper"]
    copies("instances_task", 4, "id LIKE 'old%'", id="'x' || n || id", root_id="'x' || n || id")
    analyse()
    after = windows(1, {"hopper": hot})["hopper"]
    rates = {"after": after, "before": before}
    compare("claims beside five times as many old tasks", rates, "after", "before", target=0.9)


def windows(processes: int, modes: dict[str, Any]) -> dict[str, list[float]]:
    """Return the rates of each mode by round: the modes take turns in the same processes."""
    for mode, places in modes.items():
        if mode.startswith("hopper"):
            rate = 5000 if "batches" in mode else 1500
            fill_by_copy(places, int(SIZE.rounds * SIZE.seconds * rate))
        elif mode == "procrastinate":
            fill_peer(int(SIZE.rounds * SIZE.seconds * 2500))
    analyse()
    call = (list(modes.items()), SIZE.rounds, SIZE.seconds)
    members = crowd(
        dict(os.environ), "tests.bench.claims:take_turns", [(n, *call) for n in range(processes)]
    )
    return {
        mode: [
            sum(member[mode][n] for member in members) / SIZE.seconds for n in range(SIZE.rounds)
        ]
        for mode in modes
    }


def take_turns(
    number: int, modes: list[tuple[str, list[str]]], rounds: int, seconds: SPAN
) -> dict[str, list[int]]:
    """Be one process: count what it does in each window of each mode."""
    counts: dict[str, list[int]] = defaultdict(list)
    for turn in range(-1, rounds):
        for mode, places in modes:
            together()
            # The first turn opens connections and fills caches.
            done = work(mode, places, number, seconds if turn >= 0 else 0.2)
            if turn >= 0:
                counts[mode].append(done)
    return dict(counts)


def work(mode: str, places: list[str], number: int, seconds: SPAN) -> int:
    """Return how often a process did the work of a mode in so many seconds."""
    if mode == "procrastinate":
        return asyncio.run(_peer_loop(seconds))
    if mode == "limit":
        return until_done(seconds, own_row(number))
    place = places[number % len(places)]
    limit = BATCH if "batches" in mode else 1
    if "next" in mode:
        return until_done(seconds, report_and_claim(place, number, limit))
    return until_done(seconds, in_batches(place, number) if limit > 1 else one_task(place, number))


def until_done(seconds: SPAN, once: Callable[[], int]) -> int:
    """Count how often `once` succeeds until time is up."""
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        count += once()
    return count


def age() -> None:
    """Fill the tables with finished tasks, once: the worker's first task, copied."""
    from hopper.database import lift_time_limit
    from instances.models import Task
    from instances.tasks.worker import claim_next, complete_task
    from tests.factories import ALICE

    if Task.objects.filter(pk="old1").exists():
        return
    lift_time_limit()
    (place,) = queues("old", 1)
    first = template(place)
    (lease,) = claim_next(place, worker="w", actor=ALICE).leases
    complete_task(first, token=lease.token, actor=ALICE)
    pk = "'old' || n"
    ages = {
        name: f"source.{name} - interval '40 days'"
        for name in ("created_at", "started_at", "finished_at")
    }
    copies("instances_task", SIZE.old, f"id = '{first}'", id=pk, root_id=pk, **ages)
    of_first = f"task_id = '{first}'"
    copies("instances_attempt", SIZE.old, of_first, task_id=pk)
    place_in_feed = "source.id * 1000000 + n"
    copies("instances_event", SIZE.old, of_first, task_id=pk, position=place_in_feed)
    with cursor() as run:
        run.execute("CREATE TABLE bench_row (id int PRIMARY KEY, n int)")
    analyse(vacuum=True)


def template(place: str) -> str:
    """Return the id of a new task there."""
    from instances.tasks.creating import NewTask, create_task
    from tests.factories import ALICE

    return create_task(NewTask(instance_id=place, title="work"), actor=ALICE).task.pk


def queues(name: str, count: int) -> list[str]:
    """Return the ids of so many running queues of this name, made once."""
    from instances.models import HopperInstance
    from tests.factories import InstanceFactory

    there = HopperInstance.objects.filter(name__startswith=f"{name}-", scope="ORCHESTRATION")
    if not there.exists():
        config = {"max_concurrent_tasks": 1000, "max_queued_tasks": 10**6}
        project = InstanceFactory(scope="PROJECT", name=f"project-{name}")
        for n in range(count):
            kind = {"scope": "ORCHESTRATION", "config": config}
            InstanceFactory(name=f"{name}-{n}", parent=project, **kind)
    return list(there.values_list("pk", flat=True))


def fill_by_copy(places: list[str], count: int) -> None:
    """Put ready tasks into queues: copies of one task of each."""
    from hopper.ids import new_id

    for place in places:
        first = template(place)
        pk = f"'{new_id('t')}' || n"
        copies("instances_task", count // len(places), f"id = '{first}'", id=pk, root_id=pk)


def one_task(place: str, number: int) -> Callable[[], bool]:
    """Return the work of one worker: claim a task, complete it."""
    from instances.tasks.worker import claim_next, complete_task
    from tests.factories import ALICE

    def once() -> bool:
        for lease in claim_next(place, worker=f"w{number}", actor=ALICE).leases:
            complete_task(lease.task.pk, token=lease.token, result=None, actor=ALICE)
            return True
        return False

    return once


def in_batches(place: str, number: int) -> Callable[[], int]:
    """Return the work of one worker: claim ten tasks, complete them in one call."""
    from instances.tasks.batches import Done, complete_tasks
    from instances.tasks.worker import claim_next
    from tests.factories import ALICE

    def once() -> int:
        leases = claim_next(place, worker=f"w{number}", limit=BATCH, actor=ALICE).leases
        complete_tasks([Done(one.task.pk, one.token) for one in leases], actor=ALICE)
        return len(leases)

    return once


def report_and_claim(place: str, number: int, limit: int) -> Callable[[], int]:
    """Return the work of one worker: report its tasks and claim as many in the same call."""
    from instances.tasks.batches import Done, complete_and_claim
    from tests.factories import ALICE

    held: list[Done] = []

    def once() -> int:
        wish = {"worker": f"w{number}", "limit": limit, "actor": ALICE}
        verdicts, claim = complete_and_claim(held, place, **wish)
        held[:] = [Done(one.task.pk, one.token) for one in claim.leases]
        return len(verdicts)

    return once


def own_row(number: int) -> Callable[[], bool]:
    """Return the least that a change costs: one update of a row that nobody else wants."""
    with cursor() as run:
        run.execute("INSERT INTO bench_row VALUES (%s, 0) ON CONFLICT DO NOTHING", [number])

    def once() -> bool:
        with cursor() as run:
            run.execute("UPDATE bench_row SET n = n + 1 WHERE id = %s", [number])
        return True

    return once


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


def peer() -> dict[str, list[str]]:
    """Return the mode of Procrastinate, if it is installed."""
    return {"procrastinate": []} if find_spec("procrastinate") else {}


def fill_peer(count: int) -> None:
    """Give Procrastinate jobs to fetch, and as many finished ones as Hopper has."""
    if asyncio.run(_peer_is_new()):
        done = "'succeeded'::procrastinate_job_status"
        number = "nextval(pg_get_serial_sequence('procrastinate_jobs', 'id'))"
        copies("procrastinate_jobs", SIZE.old, "id = 1", id=number, status=done)
    asyncio.run(_peer_defer(count))


async def _peer_is_new() -> bool:
    """Return whether Procrastinate's tables, with a first job, had to be made."""
    app = _peer()
    async with app.open_async():
        there = await app.connector.execute_query_one_async(
            "SELECT to_regclass('procrastinate_jobs') IS NOT NULL AS there"
        )
        if not there["there"]:
            await app.schema_manager.apply_schema_async()
            await app.tasks["bench"].defer_async(n=0)
    return not there["there"]


async def _peer_defer(count: int) -> None:
    app = _peer()
    async with app.open_async():
        for _ in range(0, count, 500):
            await app.tasks["bench"].batch_defer_async(*({"n": n} for n in range(500)))


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
