"""Base classes of the admin pages: permissions, services for rows, tables below a record."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from hopper.actors import EVERYWHERE, Actor
from hopper.database import number_of
from hopper.errors import HopperError
from hopper.rest.auth import account_id
from hopper.words import key_of

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
    _Paginator = Paginator[Any]
else:
    _ModelAdmin, _Paginator = admin.ModelAdmin, Paginator

NOTHING = "-"
SECRETS = frozenset({"digest", "lease_digest", "password", "token_key", "url"})
"""Columns that hold secrets or are made from them. An address of a list may not search them."""
NAMED = 20
"""The most rows that a message names."""
ROWS_ASKED = 200
"""The most rows that the page before an action lists."""
_LONGEST_DATA = 300


def actor_of(request: HttpRequest) -> Actor:
    """Return the caller as an actor: admin everywhere for a superuser, else without roles."""
    grants = {EVERYWHERE: "admin"} if request.user.is_superuser else {}
    return Actor(request.user.get_username(), grants, account_id(request.user))


@dataclass(frozen=True)
class Table:
    """Read-only rows below a record. `note` says which rows are left out.

    A table may be marked as the record's history; the button of the page leads to the marked table.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str = ""
    is_history: bool = False


class GuardedAdmin(_ModelAdmin):
    """Staff see all records. Superusers may also edit. Most records are never deleted."""

    change_form_template = "hopper_admin/record.html"
    may_add = False
    """Whether superusers may create records."""
    may_delete = False
    """Whether superusers may delete records. Instances are terminated and tasks cancelled."""

    class Media:
        css = {"all": ("instances/admin.css",)}

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Use the name of the model as the heading of the list."""
        title = capfirst(self.model._meta.verbose_name_plural)
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Whether the address of a list may filter by `lookup`. Django allows every own column."""
        if SECRETS.intersection(lookup.split("__")):
            return False
        return bool(super().lookup_allowed(lookup, value, cast("HttpRequest", request)))

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whether the front page lists the models."""
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the caller may read: any active member of staff."""
        return bool(request.user.is_active and request.user.is_staff)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the caller may edit and run actions."""
        return bool(request.user.is_active and request.user.is_superuser)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the caller may create."""
        return self.may_add and self.has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the caller may delete."""
        return self.may_delete and self.has_change_permission(request)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the rows that hold the words as typed, or in the form of comparison (R25)."""
        found, several = super().get_search_results(request, queryset, search_term)
        key = key_of(search_term)
        if key == search_term:
            return found, several
        return found | super().get_search_results(request, queryset, key)[0], several

    def tables(self, record: Any) -> list[Table]:
        """Return the tables below a record."""
        return []

    def buttons(self, record: Any) -> list[tuple[str, str]]:
        """Return the address and the words of each button of a record.

        A button leads to the page of the site that shows the effect and asks before it acts.
        """
        return []

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """Add the tables and the buttons to the page of an existing record."""
        context["tables"] = self.tables(obj) if obj is not None else []
        acts = obj is not None and bool(request.user.is_superuser)
        context["buttons"] = self.buttons(obj) if acts else []
        return super().render_change_form(request, context, add, change, form_url, obj)

    def carry_out(
        self, request: HttpRequest, rows: QuerySet[Any], change: Callable[[str], Any]
    ) -> None:
        """Call a service for each row, each in its own transaction, and show the outcomes."""
        changed: dict[str, list[str]] = {}
        refused: dict[str, list[str]] = {}
        for pk in list(rows.values_list("pk", flat=True)):
            try:
                status = change(pk).status
            except HopperError as refusal:
                refused.setdefault(refusal.detail, []).append(str(pk))
            else:
                changed.setdefault(status, []).append(str(pk))
        for number, (words, names) in enumerate(refused.items()):
            if number == NAMED:
                left = sum(map(len, list(refused.values())[NAMED:]))
                self.message_user(request, f"Refused for {left} more.", messages.ERROR)
                break
            self.message_user(request, f"Refused for {_named(names)}: {words}", messages.ERROR)
        for status, names in changed.items():
            self.message_user(request, f"Now {status}: {_named(names)}.", messages.SUCCESS)

    # Django's answer may be None, which its stubs leave out.
    def response_action(  # type: ignore[override]
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> Any:
        """Run an action on the chosen rows; say which of them have left the list meanwhile."""
        sent = request.POST.copy()
        chosen = [pk for one in sent.getlist(ACTION_CHECKBOX_NAME) for pk in one.split(",") if pk]
        sent.setlist(ACTION_CHECKBOX_NAME, chosen)
        # The stubs forbid another QueryDict, which Django reads from here on.
        request.POST = sent  # type: ignore[assignment]
        if sent.get("select_across", "0") in ("", "0"):
            there = {str(pk) for pk in queryset.filter(pk__in=chosen).values_list("pk", flat=True)}
            gone = [pk for pk in chosen if pk not in there]
            if gone:
                words = f"No longer in this list, and left as they are: {_named(gone)}."
                self.message_user(request, words, messages.WARNING)
        return super().response_action(request, queryset)

    def ask(
        self, request: HttpRequest, rows: QuerySet[Any], *, action: str, title: str, form: Form
    ) -> HttpResponse:
        """Return the page that asks for the input or the confirmation of an action."""
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.model._meta,
            "rows": list(rows[:ROWS_ASKED]),
            "count": rows.count(),
            # In one field: a form has at most 1,000 fields.
            "chosen": ",".join(map(str, rows.values_list("pk", flat=True))),
            "checkbox": ACTION_CHECKBOX_NAME,
            "action": action,
            "form": form,
            "media": self.media,
        }
        return TemplateResponse(request, "hopper_admin/ask.html", context)


Act = Callable[[GuardedAdmin, HttpRequest, QuerySet[Any]], HttpResponse | None]


def action(
    name: str,
    words: str,
    change: Callable[..., Any],
    *,
    title: str = "",
    form: type[Form] | None = None,
) -> Act:
    """Return the admin action that calls `change(pk, actor=...)` for each row.

    A `form` is shown first, under the title. Its fields are passed to `change` as well.
    """

    @admin.action(description=words, permissions=["change"])
    def act(page: GuardedAdmin, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        given: dict[str, Any] = {}
        if form is not None:
            sent = form(request.POST if "apply" in request.POST else None)
            if not sent.is_valid():
                return page.ask(request, rows, action=name, title=title, form=sent)
            given = sent.cleaned_data
        page.carry_out(request, rows, partial(change, **given, actor=actor_of(request)))
        return None

    act.__name__ = name
    return act


class ReadOnlyAdmin(GuardedAdmin):
    """Read-only records. Superusers may run actions; the actions call services."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the caller may run actions. A single record is never editable."""
        return obj is None and super().has_change_permission(request)


class LongPaginator(_Paginator):
    """The pages of many records, whose number may be an estimate."""

    estimated = False

    @cached_property
    def count(self) -> int:
        """Return the number of records."""
        number, self.estimated = number_of(cast("QuerySet[Any]", self.object_list))
        return number

    def page(self, number: int | str) -> Page[Any]:
        """Return a page. At the end of an estimate, look whether more records follow."""
        first, after = (int(number) - 1) * self.per_page, int(number) * self.per_page
        if after >= self.count and self.estimated:
            there = self.object_list[first : after + 1]
            self.count = max(self.count, first + len(there))
            self.__dict__.pop("num_pages", None)
        return super().page(number)


class LongListAdmin(ReadOnlyAdmin):
    """Read-only records of which there are many."""

    paginator = LongPaginator
    sortable_by = ()
    list_per_page = 100
    show_full_result_count = False


def _named(names: Sequence[str]) -> str:
    """Return names in one line: the first 20, and how many there are more."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def moment(at: datetime | None) -> str:
    """Return a time to the second, UTC."""
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else NOTHING


def pill(word: str) -> SafeString | str:
    """Return a status as a coloured label."""
    return format_html('<span class="hopper-pill is-{}">{}</span>', word, word) if word else NOTHING


def link(model: str, pk: object) -> SafeString | str:
    """Return the id of an instance or a task as a link to its page; a dash for none."""
    if pk in (None, ""):
        return NOTHING
    return format_html(
        '<a href="{}">{}</a>', reverse(f"admin:instances_{model}_change", args=[pk]), pk
    )


def plain(value: object) -> str:
    """Return a value as text, and a dash for none."""
    return NOTHING if value in (None, "") else str(value)


def column(field: str, title: str, show: Callable[[Any], str] = plain) -> Callable[[Any], str]:
    """Return a column of a list: an attribute of the record under a title of its own."""

    @admin.display(description=title, ordering=field)
    def shown(record: Any) -> str:
        return show(getattr(record, field))

    shown.__name__ = field
    return shown


def compact(data: object) -> str:
    """Return JSON on one line, cut where it is long; "" for an empty value."""
    if data in (None, "", {}, []):
        return ""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_DATA else text[:_LONGEST_DATA] + " ..."


def cut(rows: Iterable[Any], limit: int) -> tuple[list[Any], str]:
    """Return at most `limit` rows and, where there are more, a note that says so.

    Reads one row more than shown, so that no count is needed.
    """
    read = list(rows)
    return read[:limit], f"Only {limit} are shown." if len(read) > limit else ""
