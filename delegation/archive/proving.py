"""Proving the invariants on files of the archive, each file by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.db.models import Max, Model

from delegation.archive.rows import OF_A_TASK, read_rows
from delegation.audit import INVARIANTS, Finding, Invariant, audit
from hopper.database.scratch import scratch
from hopper.database.writes import portions
from instances.models import Event, HopperInstance, Task

_OF_THE_PRESENT = frozenset({"I17", "I21"})
"""Counters of live leases and due work are not archived."""

ASKED: tuple[Invariant, ...] = tuple(one for one in INVARIANTS if one.number not in _OF_THE_PRESENT)


class BadArchive(Exception):
    """A file that is no whole file of the archive, and why."""


def audit_files(paths: Iterable[Path], numbers: Iterable[str] = ()) -> list[Finding]:
    """Return every breach of the invariants (default: all) among the rows of each file.

    The instances are those of the database: they stay there. Raises BadArchive and OSError.
    """
    asked = {one.number for one in ASKED}.intersection(numbers or (one.number for one in ASKED))
    present = [*HopperInstance.objects.all(), *_last_events_of_instances()]
    found = []
    with scratch(("auth", "contenttypes", "instances", "scopes", "delegation")):
        _insert(present)
        for path in paths:
            _load(path)
            for one in audit(asked):
                found.append(Finding(one.invariant, one.object, f"{one.detail} ({path.name})"))
            _clear()
    return found


def _last_events_of_instances() -> Iterator[Event]:
    own = Event.objects.filter(task__isnull=True, kind__startswith="instance.")
    last = own.order_by().values("instance").annotate(last=Max("pk")).values("last")
    return Event.objects.filter(pk__in=last).iterator()


def _load(path: Path) -> None:
    try:
        with path.open(encoding="utf-8") as file:
            _insert(read_rows(file))
    except (ValueError, LookupError, TypeError, ValidationError, IntegrityError) as error:
        raise BadArchive(f"{path} is no file of the archive: {error}") from error


def _insert(rows: Iterable[Model]) -> None:
    for model, its in groupby(rows, lambda row: row._meta.model):
        for some in portions(its):
            model._base_manager.bulk_create(some)


def _clear() -> None:
    tables: tuple[type[Model], ...] = (Task, *OF_A_TASK)
    for model in tables:
        rows: Any = model._base_manager.all()
        if model is Event:
            rows = rows.filter(task__isnull=False)
        rows._raw_delete(rows.db)
