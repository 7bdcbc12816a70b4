"""Claims while old tasks go to the archive, and the size of the database before and after."""

from __future__ import annotations

import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

from tests.bench.claims import age, fill_by_copy, queues
from tests.bench.figures import SIZE, analyse, cursor, say
from tests.concurrency.crowd import crowd, together

TARGET = 1.5
"""The greatest ratio of the 99th percentile of claims beside the archive to claims alone."""

LONGEST = 120
"""The most seconds in which the rest of the old tasks is archived."""

ALONE, BESIDE = "alone", "beside the archive"


def archive() -> None:
    """Compare claims beside the archive with claims alone; then archive what is left."""
    from hopper.database import lift_time_limit

    age()
    let_old_tasks_go()
    (hot,) = queues("hot", 1)
    fill_by_copy([hot], int(SIZE.rounds * SIZE.seconds * 2000))
    analyse(vacuum=True)
    before = size()
    with tempfile.TemporaryDirectory() as folder:
        call = (hot, folder, SIZE.rounds, SIZE.seconds)
        members = [(n, *call) for n in range(max(SIZE.processes) + 1)]
        archiver, *workers = crowd(dict(os.environ), "tests.bench.archiving:take_turns", members)
        compare_claims(workers)
        archived = sum(sum(window) for window in archiver[BESIDE])
        say("tasks archived by second beside them", f"{archived / SIZE.rounds / SIZE.seconds:.0f}")
        began = time.monotonic()
        rest = archive_for(Path(folder), seconds=LONGEST)
        say("tasks archived by second alone", f"{rest / (time.monotonic() - began):.0f} ({rest})")
        files = sum(path.stat().st_size for path in Path(folder).iterdir())
    lift_time_limit()
    with cursor() as run:
        run.execute("VACUUM FULL")
    say("database before, after; files, MB", f"{before} {size()} {files // 2**20}")


def let_old_tasks_go() -> None:
    """Let the old tasks be counted, and old enough for the setting of their instance."""
    from django.db.models import Max
    from django.utils import timezone

    from instances.models import Event, HopperInstance, SweepRecord

    last = Event.objects.aggregate(last=Max("position"))["last"]
    SweepRecord.note_counted(last, timezone.now())
    (place,) = queues("old", 1)
    old = HopperInstance.objects.get(pk=place)
    old.config = {**old.config, "retention_days": 30}
    old.save(update_fields=["config"])
    say("events", Event.objects.count())


def take_turns(
    number: int, place: str, folder: str, rounds: int, seconds: float
) -> dict[str, list[list[float]]]:
    """Be one process: process 0 archives in every second window, the others always work.

    Returns the seconds of each claim, or the number of archived tasks, by mode and window.
    """
    found: dict[str, list[list[float]]] = defaultdict(list)
    for turn in range(-1, rounds):
        for mode in (ALONE, BESIDE):
            together()
            # The first turn opens connections and fills caches.
            length = seconds if turn >= 0 else 0.3
            if number > 0:
                window = claim_for(place, number, length)
            else:
                window = [archive_for(Path(folder), length)] if mode == BESIDE else []
            if turn >= 0:
                found[mode].append(window)
    return dict(found)


def claim_for(place: str, number: int, seconds: float) -> list[float]:
    """Claim and complete for so long; return the seconds of each claim."""
    from instances.tasks.worker import claim_next, complete_task
    from tests.factories import ALICE

    spans, end = [], time.monotonic() + seconds
    while (began := time.monotonic()) < end:
        leases = claim_next(place, worker=f"w{number}", actor=ALICE).leases
        spans.append(time.monotonic() - began)
        for lease in leases:
            complete_task(lease.task.pk, token=lease.token, result=None, actor=ALICE)
    return spans


def archive_for(folder: Path, seconds: float) -> int:
    """Archive for so long, or until nothing is old; return the number of tasks."""
    from delegation.archive.batches import archive_step
    from delegation.archive.retention import Retention
    from hopper import database

    retention, after, number = Retention(database.now()), "", 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        step = archive_step(folder, retention, after)
        if step is None:
            continue
        number += step.file.tasks if step.file else 0
        after = step.after
        if not after:
            break
    return number


def compare_claims(workers: list[dict[str, list[list[float]]]]) -> None:
    """Print the ratios of the median and the 99th percentile of neighbouring windows."""
    windows = {
        mode: [
            sorted(span for worker in workers for span in worker[mode][n])
            for n in range(SIZE.rounds)
        ]
        for mode in (ALONE, BESIDE)
    }
    for name, share, target in (("median", 0.5, None), ("p99", 0.99, TARGET)):
        spans = {
            mode: [one[int(len(one) * share)] * 1000 for one in its]
            for mode, its in windows.items()
        }
        pairs = zip(spans[BESIDE], spans[ALONE], strict=True)
        ratios = sorted(beside / alone for beside, alone in pairs)
        low, middle, high = ratios[0], median(ratios), ratios[-1]
        words = f"{median(spans[BESIDE]):.1f} ms, alone {median(spans[ALONE]):.1f} ms"
        figure = f"{low:.2f} {middle:.2f} {high:.2f}x  ({words})"
        say(f"claim beside the archive, {name}", figure, spans=spans, target=target)


def size() -> int:
    """Return the size of the database in MB."""
    with cursor() as run:
        run.execute("SELECT pg_database_size(current_database()) / 1048576")
        return int(run.fetchone()[0])
