"""The changes after a cursor, for open pages: by polling, or as one stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import HttpResponse, JsonResponse
from django.template.loader import render_to_string

from delegation.pages.visit import signed_in
from delegation.pages.watch import WATCH
from hopper.rest.input import MAX_PARAMETER, integer
from instances.api.permissions import visible_tasks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from delegation.pages.visit import Visit

MOST_ROWS = 200
"""More changed rows than this are not sent: the page reads itself again."""


@signed_in
def changes(visit: Visit) -> HttpResponse:
    """Answer the changes after the cursor `after`, or 204 for none that the person may see."""
    query = visit.request.GET
    after = integer(query, "after", least=0, most=MAX_PARAMETER, default=0)
    WATCH.look()
    told = message(visit, after, query)
    if told is None:
        return HttpResponse(status=204, headers={"Cache-Control": "no-store"})
    return JsonResponse(told, headers={"Cache-Control": "no-store"})


def message(visit: Visit, after: int, page: Mapping[str, str]) -> dict[str, Any] | None:
    """Return what a page needs to know after a cursor, None for nothing.

    JSON: `after`, the new cursor; `attention`, how many tasks wait for a person; `rows`, the
    changed rows of the tree as HTML; `again`, whether the page has to read itself again.
    `page` says what is open: `view=tree`, `task=ID`, and `hidden`, which asks for the count alone.
    """
    if after >= WATCH.cursor:
        return None
    change = WATCH.since(after, visit.places, visit.actor)
    told = {"after": change.after, "attention": change.attention}
    if "hidden" in page:
        return told
    rows = change.rows
    again = rows is None or len(rows) > MOST_ROWS
    if task_id := page.get("task"):
        seen = WATCH.touches(task_id, after) and visible_tasks(visit.actor).filter(pk=task_id)
        return told | {"again": bool(seen and seen.exists())}
    if again or page.get("view") != "tree":
        return told | {"again": again or bool(rows)}
    return told | {"rows": _drawn(rows or [], visit)}


def _drawn(rows: list[Any], visit: Visit) -> str:
    """Return rows of the tree as HTML, at the depth where this person sees them."""
    shown = []
    for row in rows:
        above, at = 0, WATCH.rows.get(row.parent_id or "")
        while at is not None and at.id in visit.places:
            above, at = above + 1, WATCH.rows.get(at.parent_id or "")
        placed = {"row": row, "level": above + 1, "folded": True, "hidden": False}
        shown.append(placed)
    return render_to_string("pages/rows.html", {"rows": shown, "fits": set(), "visit": visit})
