"""Yes-or-no questions about a task that the database and Python answer alike (R26)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import Q, TextField, Value
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce
from django.db.models.lookups import Exact

if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from datetime import datetime

    from instances.models import Task


@dataclass(frozen=True)
class Question:
    """`where` asks it of rows, `holds` of one that is read; `&` and `~` ask both together."""

    where: Q
    holds: Callable[[Task], bool]

    def __and__(self, other: Question) -> Question:
        return Question(
            self.where & other.where, lambda task: self.holds(task) and other.holds(task)
        )

    def __invert__(self) -> Question:
        return Question(~self.where, lambda task: not self.holds(task))


ALWAYS = Question(Q(), lambda task: True)


def equals(column: str, value: Any) -> Question:
    """Whether a column, never null, has the value."""
    return Question(Q((column, value)), lambda task: bool(getattr(task, column) == value))


def among(column: str, values: Container[Any]) -> Question:
    """Whether a column has one of the values."""
    return Question(Q((f"{column}__in", values)), lambda task: getattr(task, column) in values)


def missing(column: str) -> Question:
    """Whether a column is null."""
    return Question(Q((f"{column}__isnull", True)), lambda task: getattr(task, column) is None)


def later(column: str, now: datetime) -> Question:
    """Whether the time in a column is still to come; null is not."""

    def holds(task: Task) -> bool:
        time: datetime | None = getattr(task, column)
        return time is not None and time > now

    return Question(Q((f"{column}__gt", now)), holds)


def says(code: str) -> Question:
    """Whether the transition stored this code with the task."""
    # A key that is missing would make the comparison unknown, and so its opposite.
    kept = Cast(KT("waiting__code"), TextField())
    stored = Coalesce(kept, Value(""), output_field=TextField())
    return Question(
        Q(Exact(stored, Value(str(code), output_field=TextField()))),
        lambda task: task.waiting_code == code,
    )
