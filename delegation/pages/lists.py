"""The person's own tasks, and the search over instances and tasks."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.http import HttpResponse

from delegation.pages.visit import Visit, page
from hopper.errors import Invalid
from hopper.words import key_of
from instances.api.permissions import visible_instances, visible_tasks
from instances.choices import STARTED, TERMINAL
from instances.models import TaskQuerySet
from instances.waiting import waiting_on

MOST = 50
"""The most rows of a list."""

MOST_TYPED = 200
"""The most characters of a text that is searched."""


@page
def mine(visit: Visit) -> HttpResponse:
    """Show the tasks that the person works on, owns or asked for."""
    name, tasks = visit.actor.name, visible_tasks(visit.actor, named=True)
    own = Q(owner=name) | Q(created_by_id=visit.actor.id)
    working = tasks.filter(worker=name, status__in=STARTED)
    owned = tasks.filter(own).open()
    return visit.show(
        "pages/mine.html",
        working=_listed(working.order_by("-updated_at", "-pk")),
        owned=_listed(owned.exclude(pk__in=working.values("pk")).order_by("-updated_at", "-pk")),
        ended=_listed(
            tasks.filter(Q(worker=name) | Q(owner=name), status__in=TERMINAL).order_by("-pk")
        ),
    )


@page
def find(visit: Visit) -> HttpResponse:
    """Show the instances and tasks that hold the typed text."""
    text = visit.request.GET.get("q", "").strip()
    if len(text) > MOST_TYPED:
        raise Invalid.field("q", f"must have at most {MOST_TYPED} characters")
    if not key_of(text):
        return visit.show("pages/find.html", text="")
    instances = visible_instances(visit.actor).filter(
        Q(pk__icontains=text) | Q(name_key__contains=key_of(text)) | Q(description__icontains=text)
    )
    tasks = visible_tasks(visit.actor, named=True).filter(
        Q(pk=text) | Q(title__icontains=text) | Q(project_key=key_of(text)) | Q(external_id=text)
    )
    return visit.show(
        "pages/find.html",
        text=text,
        instances=instances.order_by("name", "pk")[:MOST],
        tasks=_listed(tasks.order_by("-pk")),
    )


def _listed(tasks: TaskQuerySet) -> list[tuple[Any, Any]]:
    """Return the first tasks, each with its reason."""
    rows = list(tasks[:MOST])
    reasons = waiting_on(rows)
    return [(row, reasons.get(row.pk)) for row in rows]
