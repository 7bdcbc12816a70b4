"""The page of one instance: its work, its children, its actions, its latest events."""

from __future__ import annotations

from django.http import HttpResponse

from delegation.pages.acting import instance_verbs
from delegation.pages.tree import children_of
from delegation.pages.visit import Visit, page
from delegation.pages.watch import WATCH
from instances.api.permissions import seen_instance, visible_tasks
from instances.models import Event, Task
from instances.waiting import waiting_on

TASKS_SHOWN, EVENTS_SHOWN = 100, 30


@page
def instance(visit: Visit, pk: str) -> HttpResponse:
    """Show one instance; with `menu`, its actions alone."""
    shown = seen_instance(visit.actor, pk)
    verbs, effective = instance_verbs(visit, shown), shown.standing().effective
    if "menu" in visit.request.GET:
        return visit.show("pages/menu.html", instance=shown, verbs=verbs, effective=effective)
    ids = [one.id for one in shown.lineage()[:-1]]
    open_tasks = list(
        Task.objects.filter(instance=pk).open()
        .order_by("-queue_urgent", "queue_at", "pk")[: TASKS_SHOWN + 1]
    )  # fmt: skip
    reasons = waiting_on(open_tasks)
    events = list(Event.objects.of_instance(pk).order_by("-pk")[:EVENTS_SHOWN])
    told = visible_tasks(visit.actor).filter(pk__in=[one.task_id for one in events if one.task_id])
    return visit.show(
        "pages/instance.html",
        instance=shown,
        above=[(one, visit.places[one]) for one in ids if one in visit.places],
        row=WATCH.rows.get(pk),
        effective=effective,
        children=children_of(visit, pk),
        tasks=[(one, reasons.get(one.pk)) for one in open_tasks[:TASKS_SHOWN]],
        more=len(open_tasks) > TASKS_SHOWN,
        verbs=verbs,
        events=events,
        titles=dict(told.values_list("pk", "title")),
    )
