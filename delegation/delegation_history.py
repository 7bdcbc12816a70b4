"""The delegations of one task, read at one moment: its path, its exclusions, its offers (R10)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from delegation.choices import DelegationStatus as D
from delegation.models import TaskDelegation
from hopper import database
from instances.models import Task
from instances.tree.surroundings import Surroundings

_COLUMNS = ", ".join(
    str(field.column) for field in TaskDelegation._meta.concrete_fields if field.name != "result"
)
# Plain SQL, because Django takes longer to write this statement than to run it.
_OF_TASK = f"""SELECT {_COLUMNS} FROM {TaskDelegation._meta.db_table}
    WHERE task_id = %s ORDER BY hop, id"""  # noqa: S608


@dataclass(frozen=True)
class DelegationHistory:
    """All delegations of a task, of which those of `epoch` count as offers."""

    rows: tuple[TaskDelegation, ...]
    epoch: int

    @classmethod
    def of(cls, task: Task) -> DelegationHistory:
        """Read the delegations of a task, in one query."""
        return cls(tuple(TaskDelegation.objects.raw(_OF_TASK, [task.pk])), task.epoch)

    def with_row(self, row: TaskDelegation) -> DelegationHistory:
        """Return these delegations and a new one."""
        return DelegationHistory((*self.rows, row), self.epoch)

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


@dataclass(frozen=True)
class Reading:
    """A task with its holder and its delegations, as it was at a moment; not locked.

    `here` is what stands around the holder, where it was read together with the task.
    """

    task: Task
    history: DelegationHistory
    at: datetime
    here: Surroundings | None = None

    @classmethod
    def of(cls, task_id: str) -> Reading:
        """Read a task. The moment lies before all that is read later about the instances."""
        rows = Task.objects.select_related("instance").annotate(at=database.present())
        task = rows.get(pk=task_id)
        # The query annotates `at`; the type of the row does not name it.
        return cls(task, DelegationHistory.of(task), task.at)  # type: ignore[attr-defined]

    @classmethod
    def as_written(cls, task: Task) -> Reading:
        """Return a task that this process has just committed; as created, it has no delegations."""
        is_new = task.updated_at == task.created_at
        history = DelegationHistory((), task.epoch) if is_new else DelegationHistory.of(task)
        return cls(task, history, task.updated_at)
