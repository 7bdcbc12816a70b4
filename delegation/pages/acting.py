"""The form of a verb: what it would do, then the button; and the carrying out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseNotAllowed, QueryDict
from django.shortcuts import redirect

from delegation.pages.calls import Refused
from delegation.pages.editing import OVERTAKEN, SHOWN, edited, present, shown, unless_overtaken
from delegation.pages.verbs import FIXED, INSTANCE_VERBS, TASK_VERBS, Verb
from delegation.pages.visit import FRAGMENT, Visit, page
from hopper.errors import HopperError, NotFound
from hopper.protocol import ACTIONS, PARENTS
from instances.api.permissions import (
    require_cancelling,
    seen_instance,
    seen_task,
    visible_instances,
)
from instances.choices import TERMINAL, HopperScope, InstanceStatus, InstanceType, TaskStatus
from instances.models import HopperInstance, Task

LISTED = 30
"""The most changed rows of a kind that a preview lists."""


@page
def act(visit: Visit, pk: str, verb: str, kind: str) -> HttpResponse:
    """Show the form of a verb (GET), or carry the verb out (POST)."""
    verbs = INSTANCE_VERBS if kind == "instances" else TASK_VERBS
    if verb not in verbs:
        raise NotFound(f"There is no action {verb}.")
    thing = seen_instance(visit.actor, pk) if kind == "instances" else seen_task(visit.actor, pk)
    if visit.request.method == "GET":
        return _form(visit, kind, thing, verbs[verb], visit.request.GET)
    if visit.request.method != "POST":
        return HttpResponseNotAllowed(["GET", "POST"])
    return _carry_out(visit, kind, thing, verbs[verb])


def _carry_out(visit: Visit, kind: str, thing: Any, verb: Verb) -> HttpResponse:
    sent = visit.request.POST.copy()
    sent.update(_fixed(verb, visit, thing))
    before = shown(verb, thing, sent)
    names = edited(verb, before, sent) if verb.whole else None
    try:
        with unless_overtaken(verb, thing.pk, before, names or ()):
            answer = verb.call(thing.pk, sent, only=names).of(visit)
    except Refused as refusal:
        return _form_again(visit, kind, thing, verb, sent, names or (), refusal)
    if FRAGMENT in visit.request.headers:
        return HttpResponse(status=204)
    messages.success(visit.request, verb.said)
    if verb.name == "add":
        return redirect("pages:task", answer["id"])
    return redirect(f"pages:{kind.removesuffix('s')}", thing.pk)


def _form_again(
    visit: Visit,
    kind: str,
    thing: Any,
    verb: Verb,
    sent: QueryDict,
    names: Collection[str],
    refusal: Refused,
) -> HttpResponse:
    """Return a refused form; an edit keeps what the person edited and shows the rest as it is."""
    for name in shown(verb, thing, sent):
        if name not in names:
            sent.pop(name, None)
        if name not in names or refusal.code == OVERTAKEN:
            sent.pop(SHOWN + name, None)
    thing.refresh_from_db()
    return _form(visit, kind, thing, verb, sent, refusal)


def _form(
    visit: Visit,
    kind: str,
    thing: Any,
    verb: Verb,
    sent: QueryDict,
    refusal: HopperError | None = None,
) -> HttpResponse:
    """Return the form, filled as it was sent; a refused one with the reason."""
    preview, status = None, refusal.status if refusal else 200
    if verb.preview and refusal is None:
        try:
            preview = _shown_preview(verb.call(thing.pk, sent, preview=True).of(visit))
        except Refused as known:
            refusal = known
    values = {**_first_values(verb, thing), **sent.dict(), **_fixed(verb, visit, thing)}
    before = shown(verb, thing, sent)
    options = _options(visit, thing, verb)
    return visit.show(
        "pages/act.html",
        status=status,
        verb=verb,
        kind=kind,
        thing=thing,
        boxes=[(box, values.get(box.name, ""), before.get(box.name)) for box in verb.boxes],
        options=options,
        unfit=_unfit(visit, verb, values, options),
        preview=preview,
        refusal=refusal,
        parents=sorted(PARENTS.get(getattr(thing, "scope", ""), ())),
    )


def _fixed(verb: Verb, visit: Visit, thing: Any) -> dict[str, str]:
    """Return the values that the server sets, whatever the form sent."""
    fixed = dict(FIXED.get(verb.name, {}))
    if verb.name == "take":
        fixed["owner"] = visit.actor.name
    if verb.name == "add":
        fixed["instance_id"] = thing.pk
    return fixed


def _first_values(verb: Verb, thing: Any) -> dict[str, str]:
    """Return the values with which the form begins."""
    if verb.whole:
        return present(verb, thing)
    return {"priority": "medium"} if verb.name == "add" else {}


def _shown_preview(answer: dict[str, Any]) -> dict[str, Any]:
    """Return what a preview shows: sentences of counts, and the first rows of each kind.

    The number of hidden rows is left out: a page never counts rows that the person may not see.
    """
    counts = answer["counts"]
    return {
        "counts": [(kind, counts[kind]) for kind in ("instances", "tasks") if counts[kind]],
        "instances": answer["instances"][:LISTED],
        "tasks": answer["tasks"][:LISTED],
        "more": sum(max(0, len(answer[kind]) - LISTED) for kind in ("instances", "tasks")),
        "refused": answer.get("refused"),
        "figures": answer if "live_leases" in answer else None,
    }


def _options(visit: Visit, thing: Any, verb: Verb) -> list[tuple[str, str, str]]:
    """Return (id, name, scope) of the instances that a choice of places offers."""
    live = visible_instances(visit.actor).live().order_by("name", "pk")
    if verb.name == "move":
        below = visible_instances(visit.actor).under(thing.pk).values("pk")
        live = live.filter(scope__in=PARENTS[thing.scope]).exclude(pk__in=below)
    elif verb.name == "delegate":
        live = live.exclude(pk=thing.instance_id or "")
    else:
        return []
    return list(live.values_list("pk", "name", "scope"))


def _unfit(
    visit: Visit, verb: Verb, values: Mapping[str, Any], options: Iterable[tuple[str, str, str]]
) -> str:
    """Return the name of a place that was asked for, but is none of the options, else ""."""
    asked = values.get("parent_id", "") if verb.name == "move" else ""
    return "" if asked in {pk for pk, _, _ in options} else visit.places.get(asked, "")


def instance_verbs(visit: Visit, instance: HopperInstance) -> list[Verb]:
    """Return the verbs that the state of an instance and the person's rights allow."""
    return [
        verb
        for verb in INSTANCE_VERBS.values()
        if _possible_there(verb.name, instance) and visit.may(verb.role, [instance.pk])
    ]


def _possible_there(name: str, instance: HopperInstance) -> bool:
    status = instance.status
    if name in ACTIONS:
        return status in ACTIONS[name].sources and status not in ACTIONS[name].steps
    if status == InstanceStatus.TERMINATED:
        return False
    if name == "close":
        run = instance.scope == HopperScope.ORCHESTRATION
        return run and instance.instance_type == InstanceType.EPHEMERAL
    return name != "move" or bool(PARENTS[instance.scope])


def task_verbs(visit: Visit, task: Task) -> list[Verb]:
    """Return the verbs that the state of a task and the person's rights allow."""
    own = task.instance_id is None and task.created_by_id == visit.actor.id
    return [
        verb
        for verb in TASK_VERBS.values()
        if _possible_now(verb.name, task)
        and (own or (verb.name == "cancel" and _may_cancel(visit, task)) or _may(visit, verb, task))
    ]


def _may(visit: Visit, verb: Verb, task: Task) -> bool:
    places = [task.instance_id]
    if verb.name in ("retry", "discard"):
        places.append(task.origin_id)
    if verb.name in ("accept", "reject"):
        places = [task.offered_to_id]
    return visit.may(verb.role, places)


def _may_cancel(visit: Visit, task: Task) -> bool:
    try:
        require_cancelling(visit.actor, task)
    except HopperError:
        return False
    return True


def _possible_now(name: str, task: Task) -> bool:
    """Return whether the status of a task allows the verb."""
    ended, offered = task.status in TERMINAL, task.offered_to_id is not None
    by_hand = task.status in ("claimed", "in_progress") and not task.has_live_lease
    return {
        "answer": False,
        "take": task.status == TaskStatus.PENDING and not offered and not task.route_due,
        "done": by_hand and not task.decomposed,
        "release": by_hand and not task.decomposed,
        "accept": offered,
        "reject": offered,
        "delegate": task.status in (TaskStatus.PENDING, TaskStatus.BLOCKED) and not offered,
        "route": task.status == TaskStatus.BLOCKED and not task.waiting.get("question"),
        "open": task.status == TaskStatus.BLOCKED and not task.waiting.get("question"),
        "comment": True,
        "edit": not ended,
        "retry": ended,
        "discard": task.status == TaskStatus.FAILED and task.discarded_at is None,
        "cancel": not ended,
    }[name]
