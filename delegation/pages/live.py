"""The changes that an open page hears of: by polling, or as one stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from django.http import HttpResponse, JsonResponse
from django.template.loader import render_to_string

from delegation.pages.rows import Row
from delegation.pages.visit import Visit, signed_in
from delegation.pages.watch import WATCH, Change
from hopper.actors import Actor
from hopper.rest.input import MAX_PARAMETER, integer
from instances.api.permissions import visible_tasks

MOST_BYTES = 18_000
"""The most bytes of rows in one message. The other rows come with the next messages."""

DRAWN = 500
"""The number of drawn rows that are kept, because several viewers see the same: some messages."""


@signed_in
def changes(visit: Visit) -> HttpResponse:
    """Answer the changes after the cursor `after`, or 204 for none that the person may see."""
    query = visit.request.GET
    after = integer(query, "after", least=0, most=MAX_PARAMETER, default=0)
    WATCH.look()
    if after >= WATCH.cursor:
        return HttpResponse(status=204, headers={"Cache-Control": "no-store"})
    told = Viewer(visit.actor, query).message(WATCH.number_at(after), after)
    return JsonResponse(told, headers={"Cache-Control": "no-store"})


@dataclass
class Viewer:
    """An open page of a person: `waiting` are rows that did not fit in its last message.

    `counted` is the attention that the page has heard of.

    `page` says what is open: `view`, `task` or `instance` with an id, `open` with the ids of
    unfolded rows, and `hidden` for a page that nobody looks at.
    """

    actor: Actor
    page: Mapping[str, str]
    counted: int | None = None
    waiting: dict[str, None] = field(default_factory=dict)

    def message(self, number: int, after: int) -> dict[str, Any]:
        """Return what the page needs to know after a look, and after a cursor.

        JSON: `after`, the new cursor; `attention`, how many tasks wait for a person; `rows`, the
        changed rows of the tree as HTML; `gone`, the ids of rows that ended or moved; `again`,
        whether the page has to read itself again.
        """
        change = WATCH.since(number, self.actor)
        self.counted, counted = change.attention, self.counted
        told = {"after": WATCH.cursor, "attention": change.attention}
        if "hidden" in self.page:
            return told
        if change.rows is not None and self.page.get("view") == "tree":
            return told | {"rows": self._rows(change.rows), "gone": change.gone}
        if self.page.get("view") == "attention" and change.attention != counted:
            return told | {"again": True}
        return told | {"again": self._has_changed(change, after)}

    def _has_changed(self, change: Change, after: int) -> bool:
        """Return whether a page without a tree shows something that changed."""
        rows = change.rows
        if task_id := self.page.get("task"):
            touched = rows is None or WATCH.touches(task_id, after)
            return touched and visible_tasks(self.actor).filter(pk=task_id).exists()
        if rows is None:
            return True
        if place := self.page.get("instance"):
            return place in change.gone or any(row.id == place for row in rows)
        if self.page.get("view") == "attention":
            return any(row.own.attention for row in rows)
        return bool(rows or change.gone)

    def _rows(self, changed: Iterable[Row]) -> str:
        """Return changed rows as HTML, as many as fit, each where this person sees the row."""
        sight, rows = WATCH.sight(self.actor), WATCH.rows
        self.waiting |= dict.fromkeys(row.id for row in changed)
        unfolded = set(self.page.get("open", "").split(","))
        drawn: list[str] = []
        size = 0
        for pk in list(self.waiting):
            row = rows.get(pk)
            if row is not None and pk in sight.ids:
                depth = sight.depth(row)
                if not sight.is_large or depth <= sight.unfolded or row.parent_id in unfolded:
                    html = _drawn(row, depth + 1)
                    size += len(html)
                    if drawn and size > MOST_BYTES:
                        break
                    drawn.append(html)
            del self.waiting[pk]
        return "".join(drawn)


@lru_cache(DRAWN)
def _drawn(row: Row, level: int) -> str:
    shown = {"row": row, "level": level, "folded": True, "hidden": False}
    return render_to_string("pages/rows.html", {"rows": [shown], "fits": set()})
