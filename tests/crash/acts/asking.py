"""Requests to the product during which a process is killed, and the list of them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rest_framework.test import APIClient

from delegation.sweep import sweep
from hopper.cli.local import OPERATOR_KEY
from instances.tasks.worker import Lease


@dataclass(frozen=True)
class Asked:
    """A request of a client, or a sweep. Anybody may ask it again who got no answer (R20)."""

    method: str
    path: str = ""
    body: Any = None

    def ask(self, key: str = "") -> int:
        """Carry it out in this process and return the status, 0 for a sweep."""
        if self.method == "SWEEP":
            sweep()
            return 0
        client = APIClient(raise_request_exception=False, **{OPERATOR_KEY: "alice"})
        headers = {"Idempotency-Key": key} if key else {}
        call = getattr(client, self.method.lower())
        answer = call(f"/api/v1{self.path}", self.body, format="json", headers=headers)
        return int(answer.status_code)


ACTS: dict[str, Callable[[], Asked]] = {}
"""By name; naturally idempotent, but for those that are not (R20)."""

SWEEP = Asked("SWEEP")


ONLY_BY_KEY: set[str] = set()
"""Those that mean something new whenever they are asked for without a key."""


def act(prepare: Callable[[], Asked]) -> Callable[[], Asked]:
    """List an act under its name in words."""
    ACTS[prepare.__name__.replace("_", " ")] = prepare
    return prepare


def act_only_by_key(prepare: Callable[[], Asked]) -> Callable[[], Asked]:
    """List an act that asks for something new each time it is asked for."""
    ONLY_BY_KEY.add(prepare.__name__.replace("_", " "))
    return act(prepare)


def new_task(**values: Any) -> Asked:
    """Ask for a task under a key of its own."""
    body = {"title": "new", "unique_key": "k", "instance_id": "top", **values}
    return Asked("POST", "/tasks", body)


def of_lease(verb: str, lease: Lease, **values: Any) -> Asked:
    """Report on a lease."""
    return Asked("POST", f"/tasks/{lease.task.pk}/{verb}", {"token": lease.token, **values})
