"""The question about words: I24. A stored key is the form in which its text is compared (R25)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from delegation.audit.extent import Breaches, Extent
from hopper.words import CLASH, key_of, keys_of
from instances.models import HopperInstance, Lesson, Task

_AT_ONCE = 5000

_TEXTS = (
    ("project", "project_key", key_of),
    ("tags", "tag_keys", keys_of),
    ("required_capabilities", "capability_keys", keys_of),
)


def keys(asked: Extent) -> Breaches:
    """I24: the key of each name, project, tag, capability and domain is that of its text."""
    for row in _rows(asked.instances(HopperInstance.objects.all()), "name", "name_key"):
        # The name of a younger sibling may stand beside the same one of an older.
        if row["name_key"].partition(CLASH)[0] != key_of(row["name"]):
            yield row["pk"], f"has the name {row['name']!r} and the key {row['name_key']!r}"
    columns = [column for text, key, _ in _TEXTS for column in (text, key)]
    for row in _rows(asked.tasks(Task.objects.all()), *columns):
        for text, key, of in _TEXTS:
            if row[key] != of(row[text]):
                yield row["pk"], f"has {text} {row[text]!r} and {key} {row[key]!r}"
    if asked.whole:
        for row in _rows(Lesson.objects.all(), "domain", "domain_key", "project", "project_key"):
            for text in ("domain", "project"):
                if row[f"{text}_key"] != key_of(row[text]):
                    yield row["pk"], f"has {text} {row[text]!r} and the key {row[text + '_key']!r}"


def _rows(rows: Any, *columns: str) -> Iterator[dict[str, Any]]:
    """Yield the columns of all rows; a limited number of rows is in memory at a time."""
    last = ""
    while True:
        found = list(rows.filter(pk__gt=last).order_by("pk").values("pk", *columns)[:_AT_ONCE])
        yield from found
        if len(found) < _AT_ONCE:
            return
        last = found[-1]["pk"]


QUESTIONS = (("I24", "each stored key of a word is that of its text", keys),)
