"""The step that a task needs before a refused change of it can succeed."""

from __future__ import annotations

from typing import NamedTuple

from instances.choices import STARTED, TaskStatus as T
from instances.models import Question, Task


class NextStep(NamedTuple):
    """A step as advice, such as "retry it first", and the statuses that the task may have after it.

    A refusal ends with the words and gives the statuses as `allowed`.
    """

    words: str
    allowed: list[str]


def next_step(task: Task) -> NextStep:
    """Return the step that brings the task nearer to work."""
    if task.is_terminal:
        return NextStep("retry it first", [T.PENDING])
    if task.status == T.BLOCKED:
        question = Question.objects.open_of(task)
        words = f"answer {question.pk} first" if question else "set its status to pending first"
        return NextStep(words, [T.PENDING])
    if task.decomposed:
        return NextStep("end its children first", [])
    if task.instance_id is None:
        return NextStep("set its status to in_progress first", [T.IN_PROGRESS])
    return NextStep("claim it first (or set its status by hand)", list(STARTED))
