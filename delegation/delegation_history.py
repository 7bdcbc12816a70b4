"""The delegations of one task, read at one moment: its path, its exclusions, its offers (R10)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from delegation.choices import DelegationStatus as D
from delegation.models import TaskDelegation

if TYPE_CHECKING:
    from instances.models import Task


@dataclass(frozen=True)
class DelegationHistory:
    """All delegations of a task, of which those of `epoch` count as offers."""

    rows: tuple[TaskDelegation, ...]
    epoch: int

    @classmethod
    def of(cls, task: Task) -> DelegationHistory:
        """Read the delegations of a task, in one query."""
        rows = TaskDelegation.objects.filter(task=task).defer("result").order_by("hop", "id")
        return cls(tuple(rows), task.epoch)

    @property
    def path(self) -> list[TaskDelegation]:
        """The active path: accepted, unfinished, downward, from the origin to the holder (R6)."""
        return [
            row
            for row in self.rows
            if row.status == D.ACCEPTED and row.source_instance_id and not row.goes_up
        ]

    @property
    def barred(self) -> dict[str, str]:
        """The instances that R10 bars in this epoch, with the reason code.

        `excluded` may be overridden by an operator, `on_path` never.
        """
        barred: dict[str, str] = {}
        for row in self._of_epoch():
            if row.status in (D.REJECTED, D.EXPIRED):
                barred[row.target_instance_id] = "excluded"
            if row.goes_up and row.source_instance_id:
                barred[row.source_instance_id] = "excluded"
        for row in self.path:
            barred |= {str(row.source_instance_id): "on_path", row.target_instance_id: "on_path"}
        return barred

    @property
    def made(self) -> Counter[str | None]:
        """The number of offers of this epoch by source, without withdrawn offers (R10).

        The way back of an answered task is no offer (R11).
        """
        return Counter(
            row.source_instance_id
            for row in self._of_epoch()
            if not (row.goes_up or row.question_id)
            and (row.status != D.CANCELLED or row.accepted_at is not None)
        )

    @property
    def next_number(self) -> int:
        """The number of a further hop."""
        return len(self.path) + 1

    def _of_epoch(self) -> list[TaskDelegation]:
        return [row for row in self.rows if row.epoch == self.epoch]
