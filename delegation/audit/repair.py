"""Repairs without loss: derived values are computed again, each under its lock."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import transaction

from hopper.database import lock_row
from instances.models import HopperInstance, InstanceLoad, Task
from instances.tree import open_counts
from instances.tree.numbers import unsound_places
from instances.tree.shape import rebuild_tree


def repair() -> Iterator[str]:
    """Rebuild the tree numbers, recount live leases and open tasks where wrong (I16, I17).

    Yields a line for each repair. Changes derived values only.
    """
    wrong = sorted({pk for pk, _ in unsound_places()})
    if wrong:
        rebuild_tree()
        yield (
            f"rebuilt the tree numbers from the parent pointers ({', '.join(wrong[:5])}"
            f"{', …' if len(wrong) > 5 else ''})"
        )
    for pk in HopperInstance.objects.order_by("pk").values_list("pk", flat=True):
        change = recount_load(pk)
        if change is not None:
            yield change
    for pk, kept, found in open_counts.recount():
        yield f"set the open count of {pk} from {kept} to {found} tasks"


def recount_load(instance_id: str) -> str | None:
    """Set the counter of live leases to the count (R22); return what was changed, or None."""
    with transaction.atomic():
        load = lock_row(InstanceLoad, instance_id)
        # A claim or an end of a lease writes the task first and then waits for this counter. So
        # that what is counted here is what the counter must say when the lock is gone.
        count = Task.objects.leased().filter(instance=instance_id).count()
        if load is None:
            InstanceLoad.objects.create(instance_id=instance_id, running=count)
            return f"made the counter of {instance_id}: {count} live leases"
        if load.running == count:
            return None
        InstanceLoad.objects.filter(pk=instance_id).update(running=count)
        return f"set the counter of {instance_id} from {load.running} to {count} live leases"
