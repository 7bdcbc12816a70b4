"""Wakes the claims that wait in a process of this server for a task at an instance."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Lock

from django.db import transaction
from django.db.models import Exists, OuterRef

from hopper import database
from instances.models import HopperInstance, Task

LOOK_SECONDS = 1.0
"""The seconds between two looks for ready tasks that no message named."""


class Wakeups:
    """The waiting claims by instance. All of a process share one query a second."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waits: defaultdict[str, list[Callable[[], None]]] = defaultdict(list)
        self._looked_at = 0.0
        self.tell_others: Callable[[Collection[str]], None] | None = None
        """Tells the other processes of the server the instances; None where there are none."""

    def at(self, instance_id: str) -> WakeupsAt:
        """Return the wake-ups of the claims at one instance."""
        return WakeupsAt(self, instance_id)

    @contextmanager
    def subscribed(self, instance_id: str, wake: Callable[[], None]) -> Iterator[None]:
        """Call `wake` whenever a task may be ready at the instance, until the block ends."""
        with self._lock:
            self._waits[instance_id].append(wake)
        try:
            yield
        finally:
            with self._lock:
                self._waits[instance_id].remove(wake)
                if not self._waits[instance_id]:
                    del self._waits[instance_id]

    def instance_ids(self) -> Collection[str]:
        """Return the instances at which claims wait."""
        with self._lock:
            return list(self._waits)

    def wake_after_commit(self, instance_ids: Collection[str]) -> None:
        """Wake the waits for a task or a slot at these instances, in the other processes as well.

        They are woken once the transaction has committed.
        """
        wanted = set(instance_ids)
        if self.tell_others is None:
            wanted &= set(self.instance_ids())
        if wanted:
            transaction.on_commit(partial(self._wake_all, wanted), robust=True)

    def _wake_all(self, instance_ids: Collection[str]) -> None:
        self.wake(instance_ids)
        if self.tell_others is not None:
            self.tell_others(instance_ids)

    def wake(self, instance_ids: Collection[str]) -> None:
        """Wake all waits of this process at these instances."""
        with self._lock:
            wakes = [wake for pk in instance_ids for wake in self._waits.get(pk, ())]
        for wake in wakes:
            wake()

    def look(self) -> None:
        """Wake the claims where a task is ready, unless the last look is less than a second ago."""
        now = time.monotonic()
        with self._lock:
            if now - self._looked_at < LOOK_SECONDS:
                return
            self._looked_at = now
        ready = Task.objects.claimable(database.now()).filter(instance=OuterRef("pk"))
        places = HopperInstance.objects.filter(Exists(ready), pk__in=self.instance_ids())
        self.wake(list(places.values_list("pk", flat=True)))


@dataclass(frozen=True)
class WakeupsAt:
    """The wake-ups of the claims at one instance."""

    wakeups: Wakeups
    instance_id: str

    def subscribed(self, wake: Callable[[], None]) -> AbstractContextManager[None]:
        """Call `wake` whenever a task may be ready here, until the block ends."""
        return self.wakeups.subscribed(self.instance_id, wake)

    def look(self) -> None:
        """Look for all waits of the process."""
        self.wakeups.look()


WAKEUPS = Wakeups()
