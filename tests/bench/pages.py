"""First pages over HTTP, beside few and beside many finished tasks."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

from tests.bench.claims import queues, template
from tests.bench.figures import SIZE, analyse, cursor, say
from tests.bench.placing import asking, serving
from tests.plans import copies

FEW, QUEUES, PENDING = 1000, 24, 20
"""The finished tasks of the first measurement, the queues that held them, the tasks in each."""
TARGET = 3.0
"""The most times that a page may take as long beside all tasks as beside few."""
ASKED = 15
ONE = "old000000007"
PAGES = (
    "tasks", "tasks?status=done", "tasks?status=cancelled", "tasks?status=pending",
    "tasks?open=true", "tasks?open=false", "tasks?ready=true", "tasks?dead_letter=true",
    "tasks?priority=medium", "tasks?project=web", "tasks?worker=w", "tasks?search=work",
    "tasks/search?q=work", "tasks?under=project-pages", "tasks?under=project-pages&status=done",
    "tasks?created_after=2020-01-01T00:00:00Z", f"tasks?parent_id={ONE}", f"tasks/{ONE}",
    f"tasks/{ONE}/events", f"tasks/{ONE}/attempts", "instances", "instances/pages-0",
    "instances/pages-0/tasks", "instances/pages-0/tasks?status=done",
    "instances/pages-0/tasks?status=pending", "instances/pages-0/events",
    "instances/pages-0/delegations", "instances/pages-0/metrics",
    "instances/project-pages/hierarchy?depth=2", "events", "events?kind=task.done",
    f"events?task_id={ONE}", "events?instance_id=pages-0", "delegations",
    f"delegations?task_id={ONE}", "lessons", "attention", "status",
    # An index leads to no rows of these.
    "tasks?ordering=-created_at", "tasks?ordering=-updated_at", "tasks?ordering=priority",
    "tasks?owner=ada", "tasks?tags=web", "tasks?search=work%201234",
)  # fmt: skip


def pages() -> None:
    """Ask for each first page beside few finished tasks and beside all of them.

    The tasks ended at 24 queues, over months. All tasks of other parts are removed first.
    """
    _pages(alike=False)


def pages_of_one_age() -> None:
    """The same where all tasks are of one queue and of one age, the worst case for an order."""
    _pages(alike=True)


def _pages(*, alike: bool) -> None:
    from instances.tokens import create_token

    _, token = create_token(f"pages-{alike}", role="admin")
    with cursor() as run:
        run.execute("TRUNCATE instances_task, instances_attempt, instances_event CASCADE")
    _fill(0, FEW, alike=alike)
    with serving() as server:
        few = _times(asking(server.port, token))
        _fill(FEW, SIZE.old, alike=alike)
        # A new connection: the server closed the idle one.
        many = _times(asking(server.port, token))
    kind = "one age" if alike else "24 queues"
    for path in PAGES:
        ratio = many[path] / few[path]
        figure = f"{ratio:.2f}x  ({few[path]:.1f} and {many[path]:.1f} ms, target {TARGET:g}x)"
        say(f"{path}, {kind}", figure, ratio=ratio, target=TARGET)


def _times(ask: Any) -> dict[str, float]:
    return {path: _milliseconds(ask, path) for path in PAGES}


def _milliseconds(ask: Any, path: str) -> float:
    """Return the median time of an answer, after a first one."""
    spans = []
    for _ in range(ASKED + 1):
        began = time.perf_counter()
        ask("GET", f"/api/v1/{path}")
        spans.append((time.perf_counter() - began) * 1000)
        if sum(spans) > 10_000:
            break
    return median(spans[1:] or spans)


def _fill(first: int, last: int, *, alike: bool) -> None:
    """Finish the tasks `first` + 1 to `last`: copies of one, with attempt, events and hop."""
    from hopper.database import lift_time_limit

    lift_time_limit()
    number = f"(n + {first})"
    place = "'pages-0'" if alike else f"'pages-' || {number} % {QUEUES}"
    pk = f"'old' || lpad({number}::text, 9, '0')"
    ages = (
        {}
        if alike
        else dict.fromkeys(
            ("created_at", "updated_at", "started_at", "finished_at", "queue_at"),
            f"source.created_at - interval '150 days' + {number} * interval '10 seconds'",
        )
    )
    status = f"CASE WHEN {number} % 50 = 0 THEN 'cancelled' ELSE 'done' END"
    values = {"id": pk, "root_id": pk, "status": status, "instance_id": place, "origin_id": place}
    model, count = _first(), last - first
    copies(
        "instances_task", count, f"id = '{model}'", **values, title=f"'work ' || {number}", **ages
    )
    of_model = f"task_id = '{model}'"
    copies("instances_attempt", count, of_model, task_id=pk, instance_id=place)
    feed = f"CASE source.instance_id WHEN 'pages-0' THEN {place} ELSE source.instance_id END"
    rank = f"{number} * 1000 + source.id"
    at = {} if alike else {"at": ages["created_at"].replace("created_at", "at")}
    copies("instances_event", count, of_model, task_id=pk, instance_id=feed, position=rank, **at)
    hop = {"id": f"'del-' || {number}", "target_instance_id": place}
    if not alike:
        hop["delegated_at"] = ages["created_at"].replace("created_at", "delegated_at")
    copies("delegation_taskdelegation", count, of_model, task_id=pk, **hop)
    analyse(vacuum=True)


def _first() -> str:
    """Return the id of the finished task that is copied; made once, with some that are pending."""
    from delegation.models import TaskDelegation
    from hopper import database
    from instances.tasks.worker import claim_next, complete_task
    from tests.factories import ALICE

    known = TaskDelegation.objects.filter(pk="del-first").first()
    if known is not None:
        return str(known.task_id)
    places = queues("pages", QUEUES)
    pk = template("pages-0")
    (lease,) = claim_next("pages-0", worker="w", actor=ALICE).leases
    complete_task(pk, token=lease.token, actor=ALICE)
    values = {"status": "completed", "hop": 1, "epoch": 1, "delegated_at": database.now()}
    ends = {"source_instance_id": "project-pages", "target_instance_id": "pages-0"}
    TaskDelegation.objects.create(id="del-first", task_id=pk, **ends, **values)
    for place in places:
        for _ in range(PENDING):
            template(place)
    return pk
