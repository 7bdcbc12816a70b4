"""Clients that create tasks and workers that do them, until a kill ends them.

They speak HTTP and know nothing of Django. Who gets no answer asks again, with the same key.
"""

from __future__ import annotations

import random
import time
import uuid
from pathlib import Path
from typing import Any

import urllib3

from tests.crash.ledger import Ledger

PAUSE = 0.05  # seconds until somebody asks again who got no answer


class Line:
    """A line to the servers: any of them answers."""

    def __init__(self, servers: list[str]) -> None:
        self._servers = servers
        self._pool = urllib3.PoolManager(retries=False, timeout=60)

    def post(self, path: str, body: Any, *, keyed: bool = True) -> tuple[int, Any, float]:
        """Return status and body of the answer and its seconds, asking until there is one.

        The seconds are those of the call that was answered. A keyed request has the same key each
        time it is sent.
        """
        headers = {"Idempotency-Key": uuid.uuid4().hex} if keyed else {}
        while True:
            began = time.perf_counter()
            try:
                answer = self._pool.request(
                    "POST",
                    f"{random.choice(self._servers)}/api/v1{path}",
                    json=body,
                    headers=headers,
                )
                if answer.status < 500:
                    return answer.status, answer.json(), time.perf_counter() - began
                if answer.status != 503:
                    raise AssertionError(f"{path}: {answer.status} {answer.data[:500]!r}")
            except urllib3.exceptions.HTTPError:
                # The server died under the request, or is not back yet.
                pass
            time.sleep(PAUSE)


def be_client(servers: list[str], folder: Path, who: str, pause: float) -> None:
    """Create tasks for ever: alone, in families, one after another."""
    line, ledger = Line(servers), Ledger(folder, who)
    number = 0

    def create(**body: Any) -> str | None:
        nonlocal number
        number += 1
        intent = f"{who}-{number}"
        status, answer, _ = line.post("/tasks", {"title": intent, "external_id": intent, **body})
        if status == 201:
            ledger.write("created", task=answer["id"])
            return str(answer["id"])
        ledger.write("refused", status=status, code=answer["code"])
        return None

    # Children as well: one whose parent is not placed yet would else wait for a person.
    falling = {"tags": ["web"], "complexity": 5}
    while True:
        first = create(instance_id="top", **falling)
        kind = random.random()
        if first and kind < 0.15:
            for _ in range(2):
                create(parent_id=first, **falling)
        elif first and kind < 0.3:
            create(instance_id="top", depends_on=[first], **falling)
        time.sleep(random.uniform(0, 2 * pause))


def be_worker(servers: list[str], folder: Path, who: str, pause: float) -> None:
    """Claim and work for ever; every grant and every completion goes into the ledger."""
    line, ledger = Line(servers), Ledger(folder, who)
    while True:
        wanted = {"worker": who, "lease_seconds": 30}
        status, answer, seconds = line.post("/instances/run/claim", wanted)
        if status != 200 or not answer["tasks"]:
            time.sleep(max(PAUSE, pause))
            continue
        for task in answer["tasks"]:
            _work(line, ledger, task, seconds, pause)


def _work(line: Line, ledger: Ledger, task: dict[str, Any], seconds: float, pause: float) -> None:
    lease = task["lease"]
    ledger.write("granted", task=task["id"], attempt=lease["attempt"], seconds=seconds)
    time.sleep(random.uniform(0, 2 * pause))
    token = {"token": lease["token"]}
    if random.random() < 0.2:
        line.post(f"/tasks/{task['id']}/heartbeat", {**token, "checkpoint": {"half": True}})
    result = {"by": task["id"], "attempt": lease["attempt"]}
    # A repeated report of the same lease needs no key (R20).
    report, keyed = {**token, "result": result}, random.random() < 0.5
    status, answer, _ = line.post(f"/tasks/{task['id']}/complete", report, keyed=keyed)
    if status == 200:
        ledger.write("completed", task=task["id"], result=result)
    else:
        ledger.write("refused", status=status, code=answer["code"])
