"""The lines of an export: a head, then one JSON object for each instance and each task.

A line is written from a row and read strictly. The lines name the fields of the REST interface.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any

from rest_framework import serializers

from hopper.ids import SLUG
from hopper.json_values import problem_in, read_json, shown
from hopper.rest.fields import Anything, Flag, Line, Object, Text, Time, Word
from hopper.task_fields import CREATE, TASK_FIELDS, set_at
from instances.api.instance_serializers import NewInstance
from instances.api.task_serializers import TaskBody
from instances.choices import TERMINAL, InstanceStatus, TaskStatus
from instances.models import HopperInstance, Task

HEAD = {"kind": "hopper", "version": 1}

MOST_FAULTS = 20
"""The most faults that a refusal names."""

MOST_BYTES = 64 * 1024 * 1024
"""The longest line that is read."""

_NOT_MOVED = frozenset(
    {
        "offered_to", "ready", "lease_expires_at", "questions", "return_to", "waiting_on",
        "children", "updated_at", "epoch", "attempt", "depends_on",
    }
)  # fmt: skip
"""The fields of a task that belong to a lease, an offer or a question, or follow from others."""

TASK_NAMES = tuple(
    field.name for field in TASK_FIELDS if field.shown and field.name not in _NOT_MOVED
)
_COLUMNS = {"origin_instance_id": "origin_id"}

INSTANCE_NAMES = (
    "id", "name", "scope", "instance_type", "status", "parent_id", "config", "runtime_metadata",
    "description", "created_by", "created_at", "started_at", "stopped_at", "expires_at",
)  # fmt: skip

SET_BY_PEOPLE = (*(field.name for field in set_at(CREATE) if field.shown), "key", "created_at")
MOVING = frozenset({"instance_id", "parent_id", "depends_on"})
COMPARED_TASK = tuple(name for name in SET_BY_PEOPLE if name not in MOVING)
COMPARED_INSTANCE = ("name", "scope", "instance_type", "parent_id", "config", "description")
"""The fields in which a line has to agree with an existing row: work does not change them."""


@dataclass(frozen=True)
class Fault:
    """A fault of a line, its number from 1: the field, "" for the whole line, and the words.

    The number 0 stands for a fault of all lines together; `field` is then the id of the row.
    """

    line: int
    field: str
    words: str

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        return f"{place}{self.field}{': ' if self.field else ''}{self.words}"


class BadLines(Exception):
    """Lines that cannot be imported; nothing was written. Names the first faults, counts all."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        super().__init__()
        self.faults: list[Fault] = []
        self.number = 0
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault) -> None:
        """Add a fault."""
        self.number += 1
        if self.number <= MOST_FAULTS:
            self.faults.append(fault)

    def __str__(self) -> str:
        more = self.number - len(self.faults)
        return "\n".join([*map(str, self.faults), *([f"and {more} more"] if more else [])])


def column(name: str) -> str:
    """Return the attribute of a row that has the value of a field."""
    return _COLUMNS.get(name, name)


def line_of(head: dict[str, Any]) -> bytes:
    """Return a JSON object as one line."""
    return json.dumps(head, ensure_ascii=False, default=_time).encode() + b"\n"


def instance_line(instance: HopperInstance) -> bytes:
    """Return the line of an instance."""
    values = {name: getattr(instance, name) for name in INSTANCE_NAMES}
    return line_of({"kind": "instance", **values})


def task_line(task: Task, depends_on: Sequence[str]) -> bytes:
    """Return the line of a task with its predecessors."""
    values = {name: getattr(task, column(name)) for name in TASK_NAMES}
    more: dict[str, Any] = {"decomposed": task.decomposed, "depends_on": depends_on}
    if task.status == TaskStatus.BLOCKED:
        more["waiting_on"] = {name: task.waiting.get(name) for name in ("code", "detail")}
    return line_of({"kind": "task", **values, **more})


def _time(value: Any) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f"{value!r} is no value of JSON")
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


_SLUG_WORDS = "a slug: lower-case letters, digits, '.', '_', '-', at most 100 characters"


class InstanceLine(NewInstance):
    """An instance as a line has it."""

    ignored = frozenset({"kind", "updated_at"})

    # A body takes any line as an id; a line of a file takes slugs alone.
    id = serializers.RegexField(  # type: ignore[assignment]
        SLUG, max_length=100, error_messages={"invalid": _SLUG_WORDS}
    )
    status = Word(choices=InstanceStatus.choices, required=False)
    created_by = Text(required=False, max_length=150)
    created_at = Time(required=False)
    started_at = Time(required=False, allow_null=True)
    stopped_at = Time(required=False, allow_null=True)


class TaskLine(TaskBody):
    """A task as a line has it: every field that people set, and the outcome."""

    moment = CREATE
    ignored = frozenset({"kind", *_NOT_MOVED, "progress", "checkpoint", "reported_at"})

    id = serializers.RegexField(
        r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        error_messages={"invalid": "letters, digits, '.', '_', '-', at most 64 characters"},
    )
    status = Word(choices=TaskStatus.choices, required=False)
    origin_instance_id = Line(required=False, allow_null=True, max_length=100)
    root_id = Line(required=False, max_length=64)
    key = Line(required=False, allow_null=True, max_length=200)
    decomposed = Flag(required=False)
    waiting_on = Object(required=False, allow_null=True)
    result = Anything(required=False)
    error = Text(required=False)
    worker = Text(required=False, max_length=200)
    created_by = Text(required=False, max_length=150)
    created_at = Time(required=False)
    started_at = Time(required=False, allow_null=True)
    finished_at = Time(required=False, allow_null=True)
    discarded_at = Time(required=False, allow_null=True)

    def get_fields(self) -> dict[str, Any]:
        """Return the fields without the one that only answers a creation."""
        return {name: one for name, one in super().get_fields().items() if name != "on_conflict"}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Return the values. Raises ValidationError for values that contradict one another."""
        if attrs.get("parent_id") and not attrs.get("root_id"):
            words = "required with parent_id: the id of the task at the top of the family"
            raise serializers.ValidationError({"root_id": words})
        ended, made = attrs.get("finished_at"), attrs.get("created_at")
        if attrs.get("status") in TERMINAL and ended and made and ended < made:
            raise serializers.ValidationError({"finished_at": "not before created_at"})
        return attrs


class Reader:
    """Reads lines strictly; one object for all lines."""

    def __init__(self) -> None:
        self._kinds = {"instance": InstanceLine(), "task": TaskLine()}

    def lines(self, file: IO[bytes]) -> Iterator[tuple[int, str, dict[str, Any]]]:
        """Yield number, kind and values of each line after the head.

        Raises BadLines, after the last line, with the faults of all lines. Empty lines are skipped.
        The memory that this takes does not grow with the file.
        """
        bad = BadLines()
        file.seek(0)
        number, headed = 0, False
        while raw := file.readline(MOST_BYTES + 1):
            number += 1
            if not raw.strip():
                continue
            if not headed:
                _require_head(number, _object(number, raw))
                headed = True
                continue
            try:
                kind, values = self._values(number, _object(number, raw))
            except BadLines as error:
                for fault in error.faults:
                    bad.add(fault)
                continue
            yield number, kind, values
        if not headed:
            raise BadLines([Fault(1, "", f"the head {json.dumps(HEAD)} is missing")])
        if bad.number:
            raise bad

    def _values(self, number: int, found: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        kind = found.get("kind")
        if not isinstance(kind, str) or kind not in self._kinds:
            words = f"is {_as_json(kind)}; allowed: {', '.join(self._kinds)}"
            raise BadLines([Fault(number, "kind", words)])
        try:
            values: dict[str, Any] = self._kinds[kind].run_validation(found)
        except serializers.ValidationError as error:
            raise BadLines(_faults(number, found, error)) from None
        return kind, values


def _object(number: int, raw: bytes) -> dict[str, Any]:
    if len(raw) > MOST_BYTES:
        raise BadLines([Fault(number, "", f"longer than {MOST_BYTES:,} bytes")])
    try:
        found = read_json(raw)
    except ValueError as error:
        raise BadLines([Fault(number, "", f"no JSON: {error}")]) from None
    if not isinstance(found, dict):
        raise BadLines([Fault(number, "", f"a JSON object is wanted, not {_as_json(found)}")])
    if problem := problem_in(found):
        raise BadLines([Fault(number, problem.place, problem.detail)])
    return found


def _require_head(number: int, found: dict[str, Any]) -> None:
    if found.get("kind") != HEAD["kind"]:
        words = f"no export of Hopper: the first line has to be {json.dumps(HEAD)}"
        raise BadLines([Fault(number, "", words)])
    if found.get("version") != HEAD["version"]:
        words = f"is {_as_json(found.get('version'))}; this release reads {HEAD['version']}"
        raise BadLines([Fault(number, "version", words)])


def _faults(
    number: int, found: dict[str, Any], error: serializers.ValidationError
) -> Iterator[Fault]:
    detail: Any = error.detail
    for name, words in detail.items():
        value = f"is {_as_json(found[name])}: " if name in found else ""
        yield Fault(number, name, f"{value}{_first(words)}")


def _first(words: Any) -> str:
    """Return the first message of nested ones."""
    while isinstance(words, list | dict):
        words = next(iter(words.values() if isinstance(words, dict) else words))
    return str(words)


def _as_json(value: Any) -> str:
    return shown(json.dumps(value, ensure_ascii=False))
