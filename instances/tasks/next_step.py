"""The step that a task needs before a refused change of it can succeed."""

from __future__ import annotations

from instances.choices import TaskStatus as T
from instances.models import Question, Task


def next_step(task: Task) -> str:
    """Return the step as advice, such as "retry it first", for the end of a refusal."""
    if task.is_terminal:
        return "retry it first"
    if task.status == T.BLOCKED:
        question = Question.objects.open_of(task)
        return f"answer {question.pk} first" if question else "set its status to pending first"
    if task.decomposed:
        return "its children end first"
    if task.instance_id is None:
        return "set its status to in_progress first"
    return "claim it first (or set its status by hand)"
