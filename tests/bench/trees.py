"""Offers, decisions and the tree: what grows with projects and instances."""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml

from tests.bench.figures import analyse, percentiles, say
from tests.concurrency.crowd import crowd

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

PROJECTS = 100
WARM, ROUTED = 100, 500


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
    spans = crowd(dict(os.environ), "tests.bench.trees:accept_all", shares)
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
                analyse()
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
