"""The bell of waiting claims: rings in this process where a task may be ready to be claimed."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from django.db.models import Exists, OuterRef

from hopper import database
from instances.models import HopperInstance, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from contextlib import AbstractContextManager

LOOK_SECONDS = 1.0
"""The time between two looks for tasks that another process made ready, or that time did."""


class Bell:
    """Wakes the waits at instances. All waits of a process share one look a second."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waits: defaultdict[str, list[Callable[[], None]]] = defaultdict(list)
        self._looked_at = 0.0

    def at(self, instance_id: str) -> BellAt:
        """Return the bell as a wait at one instance knows it."""
        return BellAt(self, instance_id)

    @contextmanager
    def heard(self, instance_id: str, wake: Callable[[], None]) -> Iterator[None]:
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

    def awaited(self) -> Collection[str]:
        """Return the instances at which claims wait."""
        with self._lock:
            return list(self._waits)

    def ring(self, instance_ids: Collection[str]) -> None:
        """Wake all waits at these instances."""
        with self._lock:
            wakes = [wake for pk in instance_ids for wake in self._waits.get(pk, ())]
        for wake in wakes:
            wake()

    def look(self) -> None:
        """Ring where a task is ready, unless this process looked less than a second ago."""
        now = time.monotonic()
        with self._lock:
            if now - self._looked_at < LOOK_SECONDS:
                return
            self._looked_at = now
        ready = Task.objects.claimable(database.now()).filter(instance=OuterRef("pk"))
        places = HopperInstance.objects.filter(Exists(ready), pk__in=self.awaited())
        self.ring(list(places.values_list("pk", flat=True)))


@dataclass(frozen=True)
class BellAt:
    """The bell at one instance."""

    bell: Bell
    instance_id: str

    def heard(self, wake: Callable[[], None]) -> AbstractContextManager[None]:
        """Call `wake` whenever a task may be ready here, until the block ends."""
        return self.bell.heard(self.instance_id, wake)

    def look(self) -> None:
        """Look for all waits of the process."""
        self.bell.look()


BELL = Bell()
