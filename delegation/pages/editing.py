"""The form of an edit: only boxes that the person edited are written, and no stale value wins.

The form carries the values that it showed. If the value of an edited box changed meanwhile, the
page shows both values and nothing is written.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from django.http import QueryDict

from delegation.pages.verbs import Box, Verb
from hopper.conditions import on_condition
from hopper.errors import Conflict
from instances.models import Task

SHOWN = "shown-"
"""The beginning of the name under which the form carries a value that it showed."""
OVERTAKEN = "overtaken"


def present(verb: Verb, task: Any) -> dict[str, str]:
    """Return the present values of the boxes of an edit, as the form shows them."""
    values = {box.name: getattr(task, box.name) for box in verb.boxes}
    for box in verb.boxes:
        if box.kind == "words":
            values[box.name] = ", ".join(values[box.name])
        elif box.kind == "time":
            values[box.name] = f"{values[box.name]:%Y-%m-%dT%H:%M}" if values[box.name] else ""
    return values


def shown(verb: Verb, task: Any, sent: QueryDict) -> dict[str, str]:
    """Return the values that the form showed, none for a verb that is no edit.

    A value that the form does not carry is the present one.
    """
    now = present(verb, task) if verb.whole else {}
    return {name: str(sent.get(SHOWN + name, value)) for name, value in now.items()}


def edited(verb: Verb, before: Mapping[str, str], sent: QueryDict) -> list[str]:
    """Return the boxes with another value than the form showed."""
    return [
        box.name
        for box in verb.boxes
        if box.name in sent and _typed(box, str(sent[box.name])) != _typed(box, before[box.name])
    ]


def unless_overtaken(
    verb: Verb, pk: str, before: Mapping[str, str], names: Collection[str]
) -> AbstractContextManager[None]:
    """Refuse the change in the block if an edited box has another value than the form showed."""
    if not verb.whole:
        return nullcontext()
    return on_condition(Task, pk, partial(_require_shown, verb, pk, before, names))


def _require_shown(verb: Verb, pk: str, before: Mapping[str, str], names: Collection[str]) -> None:
    now = present(verb, Task.objects.get(pk=pk))
    changed = [
        f"{box.label} is “{now[box.name]}” now; this form showed “{before[box.name]}”."
        for box in verb.boxes
        if box.name in names and _typed(box, now[box.name]) != _typed(box, before[box.name])
    ]
    if changed:
        words = f"{' '.join(changed)} Nothing is saved. Save again to write your value."
        raise Conflict(words, code=OVERTAKEN)


def _typed(box: Box, text: str) -> str:
    """Return a text as a browser sends it from a box: only a large one keeps its line ends."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return lines if box.kind == "text" else lines.replace("\n", "")
