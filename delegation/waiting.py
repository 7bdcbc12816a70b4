"""Why a pending offer has no answer yet (R26)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from instances.models import Task
from instances.waiting import Reason, waiting_on

if TYPE_CHECKING:
    from collections.abc import Iterable

    from delegation.models import TaskDelegation


def offers_waiting_on(rows: Iterable[TaskDelegation]) -> dict[str, Reason]:
    """Return the reason of each pending one among `rows`: that of the task that is offered.

    The number of queries does not grow with the rows.
    """
    pending = {row.task_id: row.pk for row in rows if row.is_pending}
    if not pending:
        return {}
    reasons = waiting_on(Task.objects.filter(pk__in=pending))
    return {pending[task_id]: reason for task_id, reason in reasons.items()}
