"""The pages of tasks: search, edit of descriptions, cancel, reopen, discard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import flatten
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from hopper.errors import HopperError, Invalid
from hopper.task_fields import BY_NAME, EDIT, set_at
from instances.admin.base import (
    NOTHING,
    Act,
    LongPaginator,
    Table,
    action,
    actor_of,
    column,
    compact,
    cut,
    link,
    moment,
    pill,
)
from instances.admin.forms import JsonField, ServedAdmin, ServiceForm, WordsField
from instances.choices import TaskStatus as T
from instances.models import Question, Task
from instances.tasks.editing import update_task
from instances.tasks.ending import cancel_task, discard_task
from instances.tasks.questions import answer_question
from instances.tasks.reopening import reopen_task
from instances.waiting import waiting_on

_Rows = QuerySet[Task]

ROWS_SHOWN = 200

DESCRIPTION = (
    "title", "description", ("priority", "project"), "tags", "required_capabilities",
    ("task_type", "complexity", "executor_preference"), ("requester", "owner"),
)  # fmt: skip
MORE = tuple(
    field.name
    for field in set_at(EDIT)
    if field.name not in (*flatten(DESCRIPTION), "depends_on")  # not a column of the model
)
"""The other fields that an edit may change."""
STATE = (
    "id", ("state", "waits_for_now"), ("instance", "offered_to", "origin", "parent"),
    ("worker", "lease_expires_at", "attempt", "failures"), ("epoch", "to_be_placed", "retry_at"),
    ("created_at", "created_by", "updated_at"), ("started_at", "finished_at", "discarded_at"),
    "result", "error",
)  # fmt: skip

_LINE = forms.TextInput(attrs={"class": "vTextField"})
_FORM_OPTIONS: dict[str, dict[str, Any]] = {
    "words": {"form_class": WordsField, "widget": _LINE},
    "object": {"form_class": JsonField, "widget": forms.Textarea(attrs={"rows": 4})},
}
"""Form fields that replace Django's own for these kinds of columns."""


class TaskForm(ServiceForm):
    """Edits the descriptive fields of a task."""

    def write(self, values: dict[str, Any]) -> Task:
        """Update the task. A change of project, tags or capabilities routes the task again (R9)."""
        return update_task(self.instance.pk, changes=values, actor=self.actor)


class CancelForm(forms.Form):
    """Why tasks are cancelled."""

    reason = forms.CharField(
        required=False,
        max_length=500,
        help_text="Kept with each task. Open tasks below them are cancelled too.",
    )


class DeadLetters(admin.SimpleListFilter):
    """Filters for dead letters (R15)."""

    title = "dead letters"
    parameter_name = "dead_letters"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the one choice besides "all"."""
        return [("yes", "Dead letters")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Keep only dead letters, if chosen."""
        return queryset.dead_letters() if self.value() == "yes" else queryset


class ToBePlaced(admin.BooleanFieldListFilter):
    """Filters for due tasks, under the label of the pages."""

    def __init__(self, field: Any, *args: Any, **kwargs: Any) -> None:
        """Use the label and the help text of the field on the page of one task."""
        super().__init__(field, *args, **kwargs)
        self.title = "to be placed"


class TaskChangeList(ChangeList):
    """The list of tasks, each with its reason (R26)."""

    def get_results(self, request: HttpRequest) -> None:
        """Read the page, then the reasons of all its rows at once."""
        super().get_results(request)
        tasks = list(self.result_list)
        reasons = waiting_on(tasks)
        for task in tasks:
            task.reason = reasons.get(task.pk)
        self.result_list = tasks


@admin.register(Task)
class TaskAdmin(ServedAdmin):
    """Tasks with their state, attempts and events. `delegation` adds delegations and decisions."""

    form = TaskForm
    list_display = (
        "title", "state", "priority", column("instance_id", "held by"), "worker", "project",
        "waits_for", column("created_at", "created (UTC)", moment), "id",
    )  # fmt: skip
    list_display_links = ("title",)
    list_filter = (
        DeadLetters, "status", "priority", "executor_preference", "instance__scope",
        ("route_due", ToBePlaced),
    )  # fmt: skip
    search_fields = ("=id", "title", "project_key", "external_id", "=instance__id")
    search_help_text = "Title, project or external id; or the whole id of a task or an instance."
    ordering = ("-id",)
    sortable_by = ()
    list_per_page = 50
    paginator = LongPaginator
    show_full_result_count = False
    actions: Sequence[Act] = (
        action("cancel", "Cancel ...", cancel_task, title="Cancel these tasks", form=CancelForm),
        action("retry", "Retry", reopen_task),
        action("discard", "Discard dead letters", discard_task),
    )
    readonly_fields = flatten(STATE)
    fieldsets = (
        ("State", {"fields": STATE}),
        ("Description", {"fields": DESCRIPTION}),
        ("More", {"fields": MORE, "classes": ["collapse"]}),
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list class that reads reasons."""
        return TaskChangeList

    def get_queryset(self, request: HttpRequest) -> _Rows:
        """Return the tasks. The page of one task also reads the instances that the page names."""
        rows: _Rows = super().get_queryset(request)
        return rows.select_related("instance", "offered_to", "origin", "parent")

    def has_change_permission(self, request: HttpRequest, obj: Task | None = None) -> bool:
        """Whether the caller may edit the task. A finished task is not editable."""
        return super().has_change_permission(request) and not (obj and obj.is_terminal)

    def formfield_for_dbfield(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        """Return the form field of a column, with the words and the bounds of the field list."""
        listed = BY_NAME[db_field.name]
        kwargs |= {"help_text": listed.words, **_FORM_OPTIONS.get(listed.kind, {})}
        if listed.kind == "whole":
            kwargs |= {"min_value": listed.least, "max_value": listed.most}
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def tables(self, record: Task) -> list[Table]:
        """Return the task's questions, children, attempts and events."""
        asked = [_questions(record)] if record.asked else []
        children = _children(record)
        return [*asked, *([children] if children.rows else []), _attempts(record), _events(record)]

    def buttons(self, record: Task) -> list[tuple[str, str]]:
        """Return the way to the task's own page, and the verbs that its state allows."""
        verbs = {"cancel": "Cancel the task ..."}
        if record.is_terminal:
            failed = record.status == T.FAILED and record.discarded_at is None
            verbs = {"retry": "Retry ..."} | ({"discard": "Discard ..."} if failed else {})
        address = f"/tasks/{record.pk}"
        return [*((f"{address}/{verb}", words) for verb, words in verbs.items()), (address, "Page")]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any
    ) -> HttpResponse:
        """Show the open question of a task with a form for its answer (R11)."""
        task = context["original"]
        context["question"] = Question.objects.open_of(task) if task else None
        return super().render_change_form(request, context, *args, **options)

    def get_urls(self) -> list[Any]:
        """Return the addresses of the pages, and that of the form for an answer."""
        answer = self.admin_site.admin_view(require_POST(self.answer))
        return [
            path("<path:pk>/answer/", answer, name="instances_task_answer"),
            *super().get_urls(),
        ]

    def answer(self, request: HttpRequest, pk: str) -> HttpResponse:
        """Answer the open question of a task, and return to its page (R11)."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        sent = request.POST
        try:
            question_id, words = sent.get("question_id", ""), sent.get("answer", "").strip()
            if not words:
                raise Invalid.field("answer", "there is none", "blank")
            answer_question(pk, question_id, answer=words, actor=actor_of(request))
        except HopperError as refusal:
            self.message_user(request, f"Refused for {pk}: {refusal.detail}", messages.ERROR)
        else:
            self.message_user(request, f"Answered {question_id} with {words}.", messages.SUCCESS)
        return redirect("admin:instances_task_change", pk)

    @admin.display(description="status")
    def state(self, task: Task) -> SafeString | str:
        """The task's status."""
        return pill(task.status)

    @admin.display(description="waits for")
    def waits_for(self, task: Any) -> str:
        """The code of the reason why the task waits (R26)."""
        return task.reason["code"] if task.reason else NOTHING

    @admin.display(description="waits for")
    def waits_for_now(self, task: Task) -> str:
        """The reason why the task waits (R26), with the person or part that can move the task."""
        reason = waiting_on([task]).get(task.pk)
        if not reason:
            return NOTHING
        return f"{reason['code']}: {reason['detail']}. Who acts: {reason['who'] or 'somebody'}."

    @admin.display(description="to be placed")
    def to_be_placed(self, task: Task) -> str:
        """Whether the task is due (R9), as a word: Django's red cross would look like a failure."""
        return "yes" if task.route_due else "no"


def _questions(task: Task) -> Table:
    rows = [
        (
            moment(q.asked_at),
            q.asked_by,
            link("hopperinstance", q.instance_id),
            q.text,
            pill(q.state),
            q.answer or "",
            q.answered_by,
            moment(q.answered_at),
        )
        for q in task.questions.order_by("-number")
    ]
    columns = ("Asked (UTC)", "By", "At", "Question", "State", "Answer", "By", "Answered (UTC)")
    return Table("Questions, newest first", columns, rows)


def _children(task: Task) -> Table:
    children, note = cut(task.children.order_by("pk")[: ROWS_SHOWN + 1], ROWS_SHOWN)
    rows = [
        (link("task", one.pk), one.title, pill(one.status), link("hopperinstance", one.instance_id))
        for one in children
    ]
    return Table("Children", ("Task", "Title", "Status", "Held by"), rows, note)


def _attempts(task: Task) -> Table:
    attempts, note = cut(task.attempts.order_by("-number")[: ROWS_SHOWN + 1], ROWS_SHOWN)
    rows = [
        (
            a.number,
            a.worker,
            link("hopperinstance", a.instance_id),
            moment(a.started_at),
            moment(a.ended_at),
            pill(a.outcome or ""),
            NOTHING if a.progress is None else f"{a.progress:.0%}",
            a.error,
        )
        for a in attempts
    ]
    columns = ("No.", "Worker", "At", "Began (UTC)", "Ended (UTC)", "Outcome", "Progress", "Error")
    return Table("Attempts, newest first", columns, rows, note)


def _events(task: Task) -> Table:
    events, note = cut(task.events.order_by("-pk")[: ROWS_SHOWN + 1], ROWS_SHOWN)
    rows = [
        (
            moment(e.at),
            e.kind,
            link("hopperinstance", e.instance_id),
            f"{e.before} > {e.status}" if e.before and e.before != e.status else e.status,
            link("hopperinstance", e.holder_id),
            e.actor,
            compact(e.data),
        )
        for e in events
    ]
    columns = ("At (UTC)", "Event", "Told to", "Status", "Holder after", "By", "Details")
    return Table("Events, newest first", columns, rows, note, is_history=True)
