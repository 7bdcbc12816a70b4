"""The ledger: what clients were promised and workers did, in files that no database can lose."""

from __future__ import annotations

import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class Ledger:
    """One process's append-only file; an entry is on the disk before the process goes on."""

    def __init__(self, folder: Path, who: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._descriptor = os.open(folder / f"{who}.jsonl", flags, 0o600)
        self._who = who

    def write(self, what: str, **entry: Any) -> None:
        """Append one entry: `what` is created, granted, completed, refused or killed."""
        line = json.dumps({"what": what, "who": self._who, "at": time.time(), **entry})
        os.write(self._descriptor, line.encode() + b"\n")
        os.fsync(self._descriptor)


def entries(folder: Path) -> Iterator[Entry]:
    """Yield every entry of every file."""
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


def compare(folder: Path) -> dict[str, list[str]]:
    """Return what was promised and is not there (lost), and what happened more than once (twice).

    Reads the database of this process.
    """
    from instances.models import Attempt, Event, Task

    told: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries(folder):
        told[entry["what"]].append(entry)
    lost, twice = [], []
    tasks = {row["id"]: row for row in Task.objects.values("id", "status", "result")}
    for entry in told["created"]:
        if entry["task"] not in tasks:
            lost.append(f"{entry['task']}: created for {entry['who']}, and not there")
    for entry in told["completed"]:
        row = tasks.get(entry["task"], {})
        if (row.get("status"), row.get("result")) != ("done", entry["result"]):
            lost.append(f"{entry['task']}: completed by {entry['who']}, and now {row}")
    # One intent of a client is one task, however often it had to ask.
    wanted = Counter(Task.objects.exclude(external_id="").values_list("external_id", flat=True))
    twice += [f"{intent}: {n} tasks" for intent, n in wanted.items() if n > 1]
    completions = Counter(entry["task"] for entry in told["completed"])
    twice += [f"{task}: completed {n} times" for task, n in completions.items() if n > 1]
    grants = Counter((entry["task"], entry["attempt"]) for entry in told["granted"])
    twice += [f"{task}: attempt {k} granted {n} times" for (task, k), n in grants.items() if n > 1]
    successes = Attempt.objects.filter(outcome="completed").values_list("task_id", flat=True)
    twice += [f"{task}: {n} successes" for task, n in Counter(successes).items() if n > 1]
    ends = Event.objects.filter(ending=True).values_list("task_id", "instance_id")
    twice += [
        f"{task}: ended {n} times at {at}" for (task, at), n in Counter(ends).items() if n > 1
    ]
    return {"lost": lost, "twice": twice}
