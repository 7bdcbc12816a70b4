"""Permissions of the REST interface. A grant at an instance holds for everything below."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.db.models.lookups import Exact
from rest_framework.request import Request

from hopper.actors import EVERYWHERE, ROLES, Actor
from hopper.errors import FieldError, HopperError, Invalid, NotAllowed
from hopper.json_values import text_problem
from hopper.rest.auth import Lease, Operator, caller_of
from hopper.site_key import first_lease
from instances.choices import HopperScope, InstanceStatus, WaitingCode
from instances.lessons import named_by
from instances.models import (
    AgentToken,
    ArchivedTask,
    Attempt,
    Event,
    EventQuerySet,
    HopperInstance,
    InstanceQuerySet,
    Lesson,
    LessonQuerySet,
    Task,
    TaskQuerySet,
    Webhook,
    WebhookQuerySet,
    lineages,
)
from instances.rights import grants_of, token_grants
from instances.tasks.archived import no_task
from instances.tasks.complete_sql import Done
from instances.tree.status import no_instance

MOVERS = ("operator", "admin")
"""The roles that may move a task."""


def actor_of(request: Request) -> Actor:
    """Return the caller as an actor with its grants, read once for each request."""
    known: Actor | None = getattr(request, "_hopper_actor", None)
    if known is None:
        known = _actor(request.user, request.auth, caller_of(request))
        # A request carries it for its own life; the stubs do not know the attribute.
        request._hopper_actor = known  # type: ignore[attr-defined]
    return known


def _actor(user: Any, credential: Any, actor_id: str) -> Actor:
    name = user.get_username()
    if isinstance(credential, Lease):
        return Actor(name, {}, actor_id)
    if isinstance(credential, AgentToken):
        return Actor(credential.name, token_grants(credential), actor_id)
    if isinstance(user, Operator):
        return Actor(name, {EVERYWHERE: "admin"}, actor_id)
    return Actor(name, grants_of(user), actor_id)


def visible_instances(actor: Actor, *, movable: bool = False) -> InstanceQuerySet:
    """Return the instances that the caller may see: granted instances and all below them.

    `movable` keeps those where the caller is an operator.
    """
    roles = MOVERS if movable else ROLES
    places = [place for place, role in actor.grants.items() if role in roles]
    if EVERYWHERE in places:
        return HopperInstance.objects.all()
    return HopperInstance.objects.under_any(places)


def administered_webhooks(actor: Actor) -> WebhookQuerySet:
    """Return the webhooks of the instances of which the caller is an admin."""
    if actor.is_admin:
        return Webhook.objects.all()
    admin = {place: role for place, role in actor.grants.items() if role == "admin"}
    places = visible_instances(replace(actor, grants=admin))
    return Webhook.objects.filter(instance__in=places.values("pk"))


def known_places(actor: Actor) -> frozenset[str] | None:
    """Return the ids of the instances that the caller sees and of those above; None for all.

    The caller learns of no other instance, not even by its id.
    """
    if EVERYWHERE in actor.grants:
        return None
    above = {one.id for line in lineages(actor.grants).values() for one in line}
    return frozenset(above).union(visible_instances(actor).values_list("pk", flat=True))


def visible_tasks(actor: Actor, *, named: bool = False) -> TaskQuerySet:
    """Return the tasks that the caller may see.

    A task is visible by its holder, its origin, its intended instance, or to its creator. `named`
    suits a list: few visible instances are then named by value. Else they are a subquery.
    """
    if EVERYWHERE in actor.grants:
        return Task.objects.all()
    places = visible_instances(actor).ids(named=named)
    return Task.objects.filter(_seen_by(actor, places) | Q(offered_to__in=places))


def visible_archived(actor: Actor) -> QuerySet[ArchivedTask]:
    """Return the tasks of the archive that the caller might see before."""
    archived = ArchivedTask.objects.all()
    return (
        archived
        if EVERYWHERE in actor.grants
        else archived.filter(_seen_by(actor, visible_instances(actor).ids(named=False)))
    )


def _seen_by(actor: Actor, places: Any) -> Q:
    """Return the condition of a task that the caller sees by its holder, origin or creator."""
    return Q(instance__in=places) | Q(origin__in=places) | _unassigned_of(actor)


def _unassigned_of(actor: Actor) -> Q:
    """Return the condition of a task that the caller made and that no instance ever had."""
    return Q(instance__isnull=True, origin__isnull=True, created_by_id=actor.id)


def held_tasks(actor: Actor, *, movable: bool = False) -> TaskQuerySet:
    """Return the tasks held by visible instances, and unassigned ones that the caller made.

    `movable` keeps those that the caller may move as an operator.
    """
    if actor.grants.get(EVERYWHERE) in (MOVERS if movable else ROLES):
        return Task.objects.all()
    below = visible_instances(actor, movable=movable)
    return Task.objects.filter(Q(instance__in=below.values("pk")) | _unassigned_of(actor))


def visible_lessons(actor: Actor) -> LessonQuerySet:
    """Return the lessons of visible instances, and the caller's own."""
    if EVERYWHERE in actor.grants:
        return Lesson.objects.all()
    places = visible_instances(actor).values("pk")
    return Lesson.objects.filter(Q(instance__in=places) | Q(created_by_id=actor.id))


def lessons_of_project(actor: Actor, lessons: LessonQuerySet, project: str) -> LessonQuerySet:
    """Return the lessons of the instance that a project names, and of the instances below it.

    A word that names no instance is a label.
    """
    named = named_by(project, visible_instances(actor))
    if not named:
        return lessons.labelled(project)
    below = HopperInstance.objects.under_any(one.pk for one in named)
    return lessons.filter(instance__in=below.values("pk"))


def visible_events(actor: Actor, *, named: bool = False) -> EventQuerySet:
    """Return the events in the feeds of visible instances and of tasks that the caller created.

    `named` as for `visible_tasks`.
    """
    if EVERYWHERE in actor.grants:
        return Event.objects.all()
    # Only the few events without an instance look at their task. EXISTS would read all tasks.
    creator = Task.objects.filter(pk=OuterRef("task_id")).values("created_by_id")
    mine = Q(instance__isnull=True) & Q(Exact(Subquery(creator), actor.id))
    places = visible_instances(actor).ids(named=named)
    return Event.objects.filter(Q(instance__in=places) | mine)


def known_events(actor: Actor, task: Task) -> EventQuerySet:
    """Return the history of a task without the events of instances that the caller may not know."""
    known = known_places(actor)
    history = Event.objects.filter(task=task)
    if known is None:
        return history
    return history.filter(Q(instance__isnull=True) | Q(instance__in=known))


def require_role(actor: Actor, role: str, instance_ids: Iterable[str | None]) -> None:
    """Raise NotAllowed unless the caller holds `role` at one of the instances or above it."""
    if actor.holds(role, []):
        return
    wanted = [pk for pk in instance_ids if pk is not None]
    if not any(actor.holds(role, line) for line in _lineage_ids(wanted).values()):
        raise _role_missing(role, *wanted)


def _lineage_ids(instance_ids: Iterable[str]) -> dict[str, list[str]]:
    """Return the ids of each existing instance and of those above it, root first, by its id."""
    lines = lineages(instance_ids)
    return {pk: [one.id for one in line] for pk, line in lines.items()}


def _role_missing(role: str, *places: str) -> NotAllowed:
    where = " or ".join(places) or "everywhere"
    return NotAllowed(f"This takes the role {role} at {where}.", role=role)


def require_seen_instance(actor: Actor, instance_id: str, role: str = "viewer") -> None:
    """Raise NotFound for an instance that the caller does not see, NotAllowed without `role`.

    Each claim runs this query. The ORM would take longer.
    """
    line = _lineage_ids([instance_id]).get(instance_id)
    if line is None or not actor.holds("viewer", line):
        raise no_instance(instance_id)
    if not actor.holds(role, line):
        raise _role_missing(role, instance_id)


def seen_instance(actor: Actor, instance_id: str, role: str = "viewer") -> HopperInstance:
    """Return the instance if the caller sees it and holds `role` there.

    Raises NotFound for an invisible instance, NotAllowed for a missing role.
    """
    instance = visible_instances(actor).filter(pk=instance_id).first()
    if instance is None:
        raise no_instance(instance_id)
    require_role(actor, role, [instance_id])
    return instance


def seen_task(actor: Actor, task_id: str, role: str = "viewer") -> Task:
    """Return the task if the caller sees it and holds `role` where it is.

    The creator of an unassigned task may work on it. Raises NotFound, NotAllowed.
    """
    task = visible_tasks(actor).filter(pk=task_id).first()
    if task is None:
        raise no_task(task_id, visible_archived(actor))
    if role != "viewer":
        require_working(actor, task, role)
    return task


def require_working(actor: Actor, task: Task, role: str = "worker") -> None:
    """Raise NotAllowed unless the caller has the role where the task is, or it is the caller's own.

    Without an instance, a task is its creator's.
    """
    if task.instance_id is not None or task.created_by_id != actor.id:
        require_role(actor, role, [task.instance_id])


def worked_task(actor: Actor, task_id: str, token: str | None) -> Task:
    """Return the task for a worker's call, by lease token or by role worker at the holder."""
    if is_workers_own(task_id, token):
        return Task.objects.get(pk=task_id)
    return seen_task(actor, task_id, "worker")


def refused_reports(actor: Actor, reports: Sequence[Done]) -> dict[int, HopperError]:
    """Return the refusals of the reports that the caller may not make, by index.

    The token of a lease of the task permits a report, as does the role worker at the holder.
    """
    owned = _owned(reports)
    refused: dict[int, HopperError] = {}
    for index, report in enumerate(reports):
        if report.task_id not in owned and not actor.holds("worker", []):
            try:
                seen_task(actor, report.task_id, "worker")
            except HopperError as refusal:
                refused[index] = refusal
    return refused


def _owned(reports: Sequence[Done]) -> set[str]:
    """Return the tasks for whose report a token of one of their leases is given."""
    tokens = {one.task_id: one.token for one in reports if one.token is not None}
    proven = {pk for pk, token in tokens.items() if first_lease(pk, token) is not None}
    others = tokens.keys() - proven
    attempts = Attempt.objects.filter(task__in=others) if others else ()
    return proven | {one.task_id for one in attempts if one.has_token(tokens[one.task_id])}


def is_workers_own(task_id: str, token: str | None) -> bool:
    """Return whether the token belongs to a lease of the task, live or ended.

    A token of the task's first epoch is its own proof; only another one is looked up.
    """
    if token is None:
        return False
    proven = first_lease(task_id, token) is not None
    return proven or Attempt.objects.of_lease(task_id, token) is not None


def lease_as_credential(task_id: str, token: str) -> Lease | None:
    """Return the lease of a task that has this token, live or over; None if there is none."""
    if not token or text_problem(task_id) or text_problem(token):
        return None
    found = Attempt.objects.of_lease(task_id, token)
    return Lease(found.pk, found.worker, token) if found else None


def token_in(request: Request) -> str | None:
    """Return the lease's token that a body or the credential brings, before the body is judged."""
    default = request.auth.token if isinstance(request.auth, Lease) else None
    token = request.data.get("token", default) if isinstance(request.data, dict) else default
    return token if isinstance(token, str) else None


def require_cancelling(actor: Actor, task: Task) -> None:
    """Raise NotAllowed unless the caller created the task or is an operator on its path (R16)."""
    if task.created_by_id != actor.id:
        require_role(actor, "operator", [task.instance_id, task.origin_id])


def require_answering(actor: Actor, task: Task) -> None:
    """Raise NotAllowed unless the caller may answer a question about the task (R11).

    That takes an operator at the holder, or at the level above to which an escalation waits; an
    unassigned task is its creator's.
    """
    if task.instance_id is None and task.created_by_id == actor.id:
        return
    rises = task.waiting_code == WaitingCode.AWAITING_ESCALATION
    require_role(actor, "operator", [task.instance_id, task.offered_to_id if rises else None])


def require_creation(actor: Actor, scope: str, parent_id: str | None) -> None:
    """Raise unless the caller may create an instance there: admin, or operator for a run.

    An unknown parent is Invalid on its field.
    """
    if parent_id is not None and not visible_instances(actor).filter(pk=parent_id).exists():
        raise no_instance(parent_id, field="parent_id")
    is_run = scope == HopperScope.ORCHESTRATION and parent_id is not None
    require_role(actor, "operator" if is_run else "admin", [parent_id])


def require_changes(actor: Actor, instance: HopperInstance, changes: Mapping[str, Any]) -> None:
    """Raise NotAllowed unless the caller may make these changes.

    Configuring, moving and terminating an instance need the role admin, and so does its end: an
    instance terminates when its time has come.
    """
    ending = changes.get("status") == InstanceStatus.TERMINATED
    heavy = ending or bool({"config", "expires_at", "parent_id"} & set(changes))
    require_role(actor, "admin" if heavy else "operator", [instance.pk])
    if "parent_id" in changes and changes["parent_id"] != instance.parent_id:
        require_creation(actor, HopperScope.GLOBAL, changes["parent_id"])


def require_references(
    actor: Actor,
    bodies: Sequence[Mapping[str, Any]],
    *,
    new: bool = True,
    listed: str | None = None,
    siblings: Collection[str] = (),
) -> None:
    """Raise for invisible ids in bodies, and for instances where the caller may not create tasks.

    A task without an instance needs the role worker at any instance; a child, the right to work on
    its parent (R13). Three queries for any number of bodies. Errors name a body of a list by
    `listed` (the field of the list) and its index. A body may depend on `siblings`: keys of its
    siblings, or predecessors that the task has already.
    """
    parents = {body["parent_id"] for body in bodies if body.get("parent_id")}
    others = {pk for body in bodies for pk in body.get("depends_on", ())}
    lines = _lineage_ids(body["instance_id"] for body in bodies if body.get("instance_id"))
    places = {pk: line for pk, line in lines.items() if actor.holds("viewer", line)}
    rows = _visible(actor, parents | others)
    known = rows.keys() | set(siblings)
    met: set[str] = set()
    if unmet := others - known:
        archived = visible_archived(actor).filter(pk__in=unmet)
        met = set(archived.values_list("pk", flat=True))
    errors: list[FieldError] = []
    for index, body in enumerate(bodies):
        prefix = "" if listed is None else f"{listed}{index}."
        errors += _unknown(prefix, body, places, known, known | met)
    if errors:
        words = "; ".join(f"{error.field}: {error.detail}" for error in errors[:5])
        raise Invalid(words, errors=errors)
    if new:
        for place, line in sorted(places.items()):
            if not actor.holds("worker", line):
                raise _role_missing("worker", place)
        for parent_id in sorted(parents):
            require_working(actor, rows[parent_id])
        if any(not body.get("instance_id") and not body.get("parent_id") for body in bodies):
            require_worker_somewhere(actor, "To create a task")


def _visible(actor: Actor, task_ids: Collection[str]) -> dict[str, Task]:
    """Return the visible ones of these tasks by id, with their instance and creator alone."""
    if not task_ids:
        return {}
    tasks = visible_tasks(actor).filter(pk__in=task_ids)
    return tasks.only("pk", "instance_id", "created_by_id").in_bulk()


def _unknown(
    prefix: str,
    body: Mapping[str, Any],
    places: Collection[str],
    parents: Collection[str],
    before: Collection[str],
) -> list[FieldError]:
    """Return an error for each unknown id in a body."""
    named = [
        ("instance_id", "instance", body.get("instance_id"), places),
        ("parent_id", "task", body.get("parent_id"), parents),
        *(
            (f"depends_on.{place}", "task", pk, before)
            for place, pk in enumerate(body.get("depends_on", ()))
        ),
    ]
    return [
        FieldError(prefix + name, "unknown", f"there is no {noun} {pk}")
        for name, noun, pk, known in named
        if pk and pk not in known
    ]


def require_worker_somewhere(actor: Actor, what: str) -> None:
    """Raise NotAllowed for a mere viewer: `what` has no place, and so needs the role anywhere."""
    if all(role == "viewer" for role in actor.grants.values()):
        raise NotAllowed(f"{what} takes the role worker somewhere.", role="worker")
