"""An instance with the line above it, its children and all their loads, read in one statement."""

# ruff: noqa: S608 - the statement is made of names from this code; values are parameters

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from itertools import accumulate, starmap
from types import MappingProxyType
from typing import Any, NamedTuple

from hopper import database
from hopper.config.files import CONFIGURATION, Snapshot
from hopper.config.registry import effective_settings, setting_keys
from hopper.database.functions import Function
from instances.choices import STARTED, TaskStatus
from instances.models import HopperInstance, InstanceLoad, Task
from instances.tree import open_counts
from instances.tree.reads import stated_capabilities

_INSTANCE = HopperInstance._meta.db_table
_NOT_WAITING = ", ".join(f"'{status}'" for status in (*STARTED, TaskStatus.BLOCKED))
_BOTTOMLESS = 50  # A longer line is a circle. Only a damaged tree has one.

# The instances that hold open tasks below are rows too: their counts are added up once, not for
# each child. A row that only counts has no height. The waiting tasks are the
# open ones minus the started and blocked ones, which are few.
_SURROUNDINGS = f"""
    WITH RECURSIVE line (id, parent_id, height) AS (
        SELECT id, parent_id, 0 FROM {_INSTANCE} WHERE id = %(id)s
        UNION ALL
        SELECT above.id, above.parent_id, height + 1
        FROM line JOIN {_INSTANCE} above ON above.id = line.parent_id
        WHERE height < {_BOTTOMLESS}
    ),
    near (id, height) AS (
        SELECT id, height FROM line
        UNION ALL SELECT id, -1 FROM {_INSTANCE} WHERE parent_id = %(parent)s
    ),
    held (id, unfinished) AS (
        SELECT below.id, sum(tasks)
        FROM {_INSTANCE} top
            JOIN {_INSTANCE} below
                ON below.tree_id = top.tree_id AND below.lft BETWEEN top.lft AND top.rght
            JOIN {open_counts.TABLE} counted ON counted.instance_id = below.id
        WHERE top.id = %(id)s
        GROUP BY below.id
        HAVING sum(tasks) > 0
    )
    SELECT here.id, name, name_key, scope, status, CAST(config AS text), created_by_id, lft, rght,
        height,
        CASE WHEN height <= 0 AND unfinished > 0 THEN unfinished - (
            SELECT count(*) FROM {Task._meta.db_table} task
            WHERE task.instance_id = here.id AND task.status IN ({_NOT_WAITING})) ELSE 0 END,
        COALESCE(unfinished, 0), running, created_at, started_at,
        CASE WHEN height <= 0 THEN ({{moment}}) END
    FROM {_INSTANCE} here
        LEFT JOIN near ON near.id = here.id
        LEFT JOIN held ON held.id = here.id
        LEFT JOIN {InstanceLoad._meta.db_table} ON instance_id = here.id AND height <= 0
    WHERE here.id IN (SELECT id FROM near UNION SELECT id FROM held)"""


class Seen(NamedTuple):
    """An instance as the statement reads it. `config` is text, `height` is -1 for a child.

    `moment` is the time that the reader asked for. The times are as the database tells them:
    `engine().moment` reads them.
    """

    id: str
    name: str
    name_key: str
    scope: str
    status: str
    config: str
    created_by_id: str
    lft: int
    rght: int
    height: int | None
    waiting: int
    unfinished: int
    running: int
    created_at: Any
    started_at: Any
    moment: Any


@cache
def surrounding(moment: str) -> Function:
    """Return the function that reads the same rows as one JSON, and the present after it."""
    names = ", ".join(Seen._fields)
    found = f"({_SURROUNDINGS.format(moment=moment)}) found ({names})"
    return Function(
        title="surroundings",
        arguments={"id": "text", "parent": "text"},
        returns="TABLE (seen text, present timestamptz)",
        variables="",
        body=f"""
            SELECT json_agg(json_build_array({names})) INTO seen FROM {found};
            present := clock_timestamp();
            RETURN NEXT;""",
    )


@dataclass(frozen=True)
class Surroundings:
    """The line of an instance, root first, its children by id, and the time of the reading.

    `unfinished` counts the open tasks at and below the instance and each child.
    """

    line: list[Seen]
    children: list[Seen]
    unfinished: Mapping[str, int]
    now: datetime

    @property
    def own(self) -> Seen:
        """The instance itself."""
        return self.line[-1]

    @classmethod
    def of(cls, instance_id: str, *, children: bool = True, moment: str) -> Surroundings:
        """Read the surroundings of an instance that exists, on request without its children.

        `moment` is a SELECT that finds a time for the instance `here`.
        """
        params = {"id": instance_id, "parent": instance_id if children else None}
        function = surrounding(moment)
        if function.is_kept():
            ((seen, now),) = function.call("seen", "present", **params)
            return cls.told(seen, now)
        return cls._of_rows(*database.read_with_now(_SURROUNDINGS.format(moment=moment), params))

    @classmethod
    def told(cls, seen: str, now: datetime) -> Surroundings:
        """Return the surroundings from what the function returns."""
        return cls._of_rows(json.loads(seen), now)

    @classmethod
    def _of_rows(cls, found: Iterable[Iterable[Any]], now: datetime) -> Surroundings:
        rows = list(starmap(Seen, found))
        line = sorted((row for row in rows if _height(row) >= 0), key=_height, reverse=True)
        below = sorted((row for row in rows if row.height == -1), key=lambda row: row.id)
        return cls(line, below, _unfinished(rows, [line[-1], *below]), now)


def _height(row: Seen) -> int:
    return -2 if row.height is None else row.height


def _unfinished(rows: list[Seen], wanted: list[Seen]) -> dict[str, int]:
    """Return the open tasks at and below each wanted instance, by the numbers of the tree."""
    top = wanted[0]
    counted = sorted((row.lft, row.unfinished) for row in rows if top.lft <= row.lft <= top.rght)
    places = [lft for lft, _ in counted]
    before = [0, *accumulate(count for _, count in counted)]
    return {
        row.id: before[bisect_right(places, row.rght)] - before[bisect_left(places, row.lft)]
        for row in wanted
    }


@dataclass(frozen=True)
class Configured:
    """The capabilities, domains and settings of an instance, from its `config` and the files."""

    stated: frozenset[str] | None
    domains: tuple[str, ...]
    settings: Mapping[str, Any]
    own: Mapping[str, Any]


def configured(row: Seen) -> Configured:
    """Return what an instance's `config` says, read once for each text."""
    return _configured(row.scope, row.config, CONFIGURATION.current())


@lru_cache(maxsize=4096)
def _configured(scope: str, text: str, _files: Snapshot) -> Configured:
    config = json.loads(text)
    return Configured(
        stated_capabilities(config),
        tuple(map(str, config.get("domains") or ())),
        # Behaviours of others get it, and it is kept for the next ones.
        MappingProxyType(dict(effective_settings(scope, config))),
        MappingProxyType({key: config[key] for key in setting_keys() & config.keys()}),
    )
