"""Questions about parents and children: I12, I13."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Count, Exists, OuterRef, Q

from instances.choices import TERMINAL, Completion, FailurePolicy
from instances.choices import TaskStatus as T
from instances.models import Event, Task

if TYPE_CHECKING:
    from delegation.services.audit.extent import Breaches, Extent


def closed_by_children(asked: Extent) -> Breaches:
    """I12: a parent closed by aggregation agrees with R14 applied to its children."""
    endings = Event.objects.filter(
        task=OuterRef("pk"), epoch=OuterRef("epoch"), ending=True, data__aggregated=True
    )
    closed = Task.objects.filter(Exists(endings), status__in=TERMINAL, decomposed=True)
    rows = (
        asked.families(closed)
        .order_by()
        .values("pk", "status", "failure_policy", "completion", "quorum")
        .annotate(
            done=Count("children", filter=Q(children__status=T.DONE)),
            failed=Count("children", filter=Q(children__status=T.FAILED)),
        )
    )
    for row in rows:
        due = _due(row["failure_policy"], row["completion"], row["quorum"], row)
        if row["status"] != due:
            yield (
                row["pk"],
                f"was closed {row['status']} by its children, of which {row['done']} are done and "
                f"{row['failed']} failed: it should {f'be {due}' if due else 'not be closed'}",
            )


def _due(policy: str, completion: str, quorum: int, children: dict[str, int]) -> str:
    """Return how R14 closes a parent of these children, "" where it does not close it."""
    if not children["failed"]:
        closes = children["done"] and completion != Completion.RESUME
        return T.DONE if closes else ""
    if policy == FailurePolicy.RESUME:
        return ""
    if policy == FailurePolicy.BEST_EFFORT and children["done"] >= quorum:
        return T.DONE
    return T.FAILED


def waiting_for_children(asked: Extent) -> Breaches:
    """I13: a parent waiting on children has an open child."""
    waits = Task.objects.filter(status=T.IN_PROGRESS, decomposed=True)
    idle = waits.filter(~Exists(Task.objects.open().filter(parent=OuterRef("pk"))))
    for pk in asked.families(idle).values_list("pk", flat=True):
        yield pk, "waits for its children, of which none is open"


QUESTIONS = (
    ("I12", "a parent closed by its children agrees with them", closed_by_children),
    ("I13", "a parent that waits for children has an open one", waiting_for_children),
)
