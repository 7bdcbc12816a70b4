"""The page of the tree, and its filter of words."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from delegation.pages.rows import Row, rows_of
from delegation.pages.visit import page
from hopper.rest.input import integer
from instances.allowances import MAX_DEPTH
from instances.api.permissions import visible_instances

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from django.http import HttpResponse

    from delegation.pages.visit import Visit

MOST_ROWS = 400
"""A larger tree is sent without its folded rows. A row's children come when it is unfolded."""

UNFOLDED, CALM = 2, 60
"""Rows down to this depth are shown at first; one level less where they are more than `CALM`."""

KEYS = ("scope", "status", "reason")
"""The words with a value, such as `scope:project`."""


@dataclass(frozen=True)
class Filter:
    """A filter of words: `stuck`, `scope:`, `status:` and `reason:` with a value, and texts.

    A row has to fit all words; of several values of one key, one.
    """

    stuck: bool = False
    values: Mapping[str, set[str]] = field(default_factory=dict)
    texts: tuple[str, ...] = ()

    @classmethod
    def of(cls, words: str) -> Filter:
        """Return the filter that a person typed. Case does not matter."""
        stuck, texts = False, []
        values: dict[str, set[str]] = defaultdict(set)
        for word in words.lower().split():
            key, _, value = word.partition(":")
            if word == "stuck":
                stuck = True
            elif key in KEYS and value:
                values[key].add(value)
            else:
                texts.append(word)
        return cls(stuck, dict(values), tuple(texts))

    def __bool__(self) -> bool:
        return bool(self.stuck or self.values or self.texts)

    def keeps(self, row: Row) -> bool:
        """Return whether the row fits all words."""
        if self.stuck and not (row.own.stuck or row.effective == "error"):
            return False
        has = {
            "scope": [row.scope],
            "status": [row.status, row.effective],
            "reason": row.own.reasons,
        }
        for key, values in self.values.items():
            if values.isdisjoint(one.lower() for one in has[key]):
                return False
        return all(text in row.name.lower() or text in row.id.lower() for text in self.texts)


def kept(rows: Sequence[Row], words: Filter) -> tuple[list[Row], set[str]]:
    """Return the rows that fit with the rows above them, and the ids of those that fit."""
    fits = {row.id for row in rows if words.keeps(row)}
    wanted = set(fits)
    for row in reversed(rows):
        if row.id in wanted and row.parent_id:
            wanted.add(row.parent_id)
    return [row for row in rows if row.id in wanted], fits


@page
def tree(visit: Visit) -> HttpResponse:
    """Show the tree; with `under`, the rows below one instance alone."""
    query = visit.request.GET
    words, under = query.get("q", "").strip(), query.get("under")
    seen = visible_instances(visit.actor)
    if under is not None:
        return _branch(visit, under)
    rows = rows_of(seen)
    found = Filter.of(words)
    shown, fits = kept(rows, found) if found else (rows, set())
    context = {
        "rows": (sent := list(_opened(shown, everything=bool(found)))),
        "cut": len(sent) < len(shown) and bool(found),
        "fits": fits,
        "words": words,
        "filtered": bool(found),
        "total": len(rows),
        "totals": totals(rows),
    }
    return visit.show("pages/tree.html", context)


def unfolded(rows: Sequence[Row]) -> int:
    """Return the depth down to which the rows of a tree are shown at first."""
    near = sum(row.depth <= UNFOLDED for row in rows)
    return UNFOLDED if near <= CALM else UNFOLDED - 1


def _opened(rows: Sequence[Row], *, everything: bool) -> Iterable[dict[str, Any]]:
    """Return the rows that are sent, each with whether it is folded and whether it is hidden."""
    deepest = MAX_DEPTH if everything else unfolded(rows)
    lazy = len(rows) > MOST_ROWS and not everything
    for row in rows[: None if lazy else 5 * MOST_ROWS]:
        hidden, folded = row.depth > deepest, row.depth >= deepest and bool(row.children)
        if not (hidden and lazy):
            yield {"row": row, "level": row.depth + 1, "folded": folded, "hidden": hidden}


def _branch(visit: Visit, under: str) -> HttpResponse:
    """Return the children of one instance, for a tree that was sent without its folded rows."""
    level = integer(visit.request.GET, "level", least=1, most=MAX_DEPTH, default=1)
    below = visible_instances(visit.actor).under(under)
    rows = [row for row in rows_of(below) if row.depth == 1]
    shown = [{"row": row, "level": level + 1, "folded": True, "hidden": False} for row in rows]
    return visit.show("pages/rows.html", {"rows": shown, "fits": set()})


def totals(rows: Sequence[Row]) -> dict[str, int]:
    """Return the sums above the tree, of visible instances alone."""
    return {
        "instances": len(rows),
        "running": sum(row.own.running for row in rows),
        "backlog": sum(row.own.backlog for row in rows),
        "stuck": sum(row.own.stuck for row in rows),
        "failed": sum(row.own.failed for row in rows),
        "done": sum(sum(row.done) for row in rows if row.depth == 0),
    }
