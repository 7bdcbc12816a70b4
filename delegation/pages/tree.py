"""The page of the tree, and its filter of words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpResponse

from delegation.pages.rows import Row, read_upper
from delegation.pages.visit import Visit, page
from delegation.pages.watch import WATCH, unfolded_depth
from hopper.rest.input import integer
from hopper.words import key_of
from instances.allowances import MAX_DEPTH
from instances.api.permissions import visible_instances

Placed = tuple[Row, int]
"""A row with its depth below the highest row that the person sees."""

MOST_ROWS, FIRST_ROWS = 1000, 100
"""The most rows that are sent of a filtered tree or of one branch, and of a tree whose work is not
read yet: a screen full of them."""

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
        """Return the filter that a person typed. Words are compared by their keys (R25)."""
        stuck, texts = False, []
        values: dict[str, set[str]] = defaultdict(set)
        for word in key_of(words).split():
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
        return all(text in key_of(row.name) or text in row.id for text in self.texts)


def kept(rows: Sequence[Placed], words: Filter) -> tuple[list[Placed], set[str]]:
    """Return the rows that fit with the rows above them, and the ids of those that fit."""
    fits = {row.id for row, _ in rows if words.keeps(row)}
    wanted = set(fits)
    for row, _ in reversed(rows):
        if row.id in wanted and row.parent_id:
            wanted.add(row.parent_id)
    return [one for one in rows if one[0].id in wanted], fits


@page
def tree(visit: Visit) -> HttpResponse:
    """Show the tree; with `under`, the children of one instance alone."""
    words, under = visit.request.GET.get("q", "").strip(), visit.request.GET.get("under")
    if under is not None:
        return _branch(visit, under)
    if not WATCH.is_ready:
        return _first(visit, words)
    sight = WATCH.sight(visit.actor)
    rows, found = sight.listed(), Filter.of(words)
    shown, fits = kept(rows, found) if found else (rows, set())
    sent = _unfolded(shown) if found else _opened(shown, sight.unfolded, cut=sight.is_large)
    return visit.show(
        "pages/tree.html",
        rows=sent,
        cut=bool(found) and len(sent) < len(shown),
        fits=fits,
        words=words,
        filtered=bool(found),
        total=len(rows),
        totals=totals(rows),
        reasons=sorted({code for row, _ in rows for code in row.own.reasons}),
    )


def _first(visit: Visit, words: str) -> HttpResponse:
    """Show the highest instances without their work, while the process reads a large tree.

    The page reads itself again as soon as the tree is known.
    """
    rows = read_upper(visible_instances(visit.actor), FIRST_ROWS)
    sent = _opened(rows, unfolded_depth(depth for _, depth in rows), cut=True)
    return visit.show("pages/tree.html", rows=sent, words=words, total=len(rows))


def _opened(rows: Sequence[Placed], deepest: int, *, cut: bool) -> list[dict[str, Any]]:
    """Return the rows that are sent, each with whether it is folded and whether it is hidden.

    Rows down to the depth `deepest` are shown; with `cut` no others are sent.
    """
    return [
        {"row": row, "level": depth + 1, "folded": depth >= deepest, "hidden": depth > deepest}
        for row, depth in rows
        if depth <= deepest or not cut
    ]


def _unfolded(rows: Sequence[Placed]) -> list[dict[str, Any]]:
    """Return the first rows of a filtered tree, nothing folded."""
    return [
        {"row": row, "level": depth + 1, "folded": False, "hidden": False}
        for row, depth in rows[:MOST_ROWS]
    ]


def _branch(visit: Visit, under: str) -> HttpResponse:
    """Return the children of one instance, for a tree that was sent without its folded rows."""
    level = integer(visit.request.GET, "level", least=1, most=MAX_DEPTH, default=1)
    children = children_of(visit, under)
    shown = [{"row": row, "level": level + 1, "folded": True, "hidden": False} for row in children]
    return visit.show("pages/rows.html", rows=shown, fits=set())


def children_of(visit: Visit, pk: str) -> list[Row]:
    """Return the instances right below a visible one, without work while the tree is read."""
    if WATCH.is_ready:
        return WATCH.children(pk) if pk in WATCH.sight(visit.actor).ids else []
    below = visible_instances(visit.actor).filter(parent=pk)
    return [row for row, _ in read_upper(below, MOST_ROWS)]


def totals(rows: Sequence[Placed]) -> dict[str, int]:
    """Return the sums above the tree, of visible instances alone."""
    tops = [row for row, depth in rows if depth == 0]
    return {
        "instances": len(rows),
        "running": sum(row.all.running for row in tops),
        "backlog": sum(row.all.backlog for row in tops),
        "stuck": sum(row.own.stuck for row, _ in rows),
        "failed": sum(row.all.failed for row in tops),
        "done": sum(sum(row.done) for row in tops),
    }
