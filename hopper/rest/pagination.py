"""Pages of lists: `next` goes on after the last row seen, `offset` jumps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core import signing
from django.db import connection
from django.db.models import F, OrderBy, Q, QuerySet
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param
from rest_framework.views import APIView

from hopper.database import MOST_COUNTED, number_of
from hopper.errors import Invalid
from hopper.rest.input import MAX_PARAMETER, integer

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
MAX_KEY = 2**63 - 1


class Page(LimitOffsetPagination):
    """`{"count", "next", "previous", "results"}` of a list that changes only with a file."""

    parameters: tuple[str, ...] = ("limit", "offset")
    request: Any
    count: Any
    offset: Any
    offset_words = "Rows to skip."

    def get_limit(self, request: Request) -> int:
        """Return how many rows the page has. Raises Invalid outside the bounds."""
        query = request.query_params
        return integer(query, "limit", least=1, most=MAX_LIMIT, default=DEFAULT_LIMIT)

    def get_offset(self, request: Request) -> int:
        """Return how many rows are skipped. Raises Invalid outside the bounds."""
        return integer(request.query_params, "offset", least=0, most=MAX_PARAMETER, default=0)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """Return the parameters as OpenAPI has them."""
        limit = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
        offset = {"type": "integer", "minimum": 0, "maximum": MAX_PARAMETER, "default": 0}
        return [
            _parameter("limit", "Rows on a page.", limit),
            _parameter("offset", self.offset_words, offset),
        ]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the page as OpenAPI has it."""
        link = {"type": "string", "nullable": True, "format": "uri"}
        count = {"type": "integer", "description": "All rows that match."}
        properties = {"count": count, "next": link, "previous": link, "results": schema}
        return {"type": "object", "required": list(properties), "properties": properties}


class CursorPage(Page):
    """A page of a list in any order; `next` skips and repeats no row whose place stays.

    The cursor holds the order's values of the last row, of which the id is the last: a page costs
    the same wherever it begins, and rows that come or go before it do not move it. A number of more
    than `MOST_COUNTED` rows may be an estimate, because counting them all costs more than the page.
    """

    parameters = ("limit", "offset", "cursor")
    offset_words = (
        "Rows to skip, to jump into a list. Where rows come or go between two requests, pages by "
        "offset repeat or skip some; `next` does not. A large offset costs more."
    )
    cursor_words = (
        "The place where a page begins, from the links `next` and `previous`. Not with `offset`."
    )
    cursor_schema: dict[str, Any] = {"type": "string", "minLength": 1}

    def paginate_queryset(
        self, queryset: Any, request: Request, view: APIView | None = None
    ) -> list[Any]:
        """Return the rows of the page asked for. Raises Invalid for bad bounds and cursors."""
        self.order = _Order(queryset)
        rows = self.order.rows
        self.request, self.limit = request, self.get_limit(request)
        self.count, self.estimated, self.offset, self.back = None, False, 0, False
        cursor = request.query_params.get(self.parameters[-1])
        if cursor is None:
            self.offset = self.get_offset(request)
        elif "offset" in request.query_params:
            raise Invalid.field(self.parameters[-1], "cannot be joined with offset")
        else:
            self.back, *key = self.read(cursor)
            rows = rows.reverse() if self.back else rows
            rows = rows.filter(self.order.beyond(key, back=self.back))
        found = list(rows[self.offset : self.offset + self.limit + 1])
        self.more = len(found) > self.limit
        self.page: list[Any] = found[self.limit - 1 :: -1] if self.back else found[: self.limit]
        if cursor is None:
            self._count(queryset)
        return self.page

    def _count(self, queryset: QuerySet[Any]) -> None:
        """Set the number of rows. The last page gives it without a statement."""
        if self.more or (self.offset and not self.page):
            self.count, self.estimated = number_of(queryset)
        else:
            self.count = self.offset + len(self.page)

    def get_paginated_response(self, data: Any) -> Response:
        """Return the page; `count_estimated` is there only where the number is an estimate."""
        answer = super().get_paginated_response(data)
        if self.estimated:
            answer.data["count_estimated"] = True
        return answer

    def get_next_link(self) -> str | None:
        """Return the address of the page after this one."""
        return self._link(-1) if self.page and (self.more or self.back) else None

    def get_previous_link(self) -> str | None:
        """Return the address of the page before this one."""
        if self.count is not None:
            return super().get_previous_link()
        return self._link(0) if self.page and (self.more or not self.back) else None

    def _link(self, row: int) -> str:
        url = replace_query_param(self.request.build_absolute_uri(), "limit", self.limit)
        cursor = self.written(self.order.key(self.page[row]), back=row == 0)
        return replace_query_param(remove_query_param(url, "offset"), self.parameters[-1], cursor)

    def written(self, key: list[Any], *, back: bool) -> str:
        """Return the cursor of the page after the row with this key, or before it."""
        return signing.dumps([back, *key], salt=self.order.salt)

    def read(self, cursor: str) -> list[Any]:
        """Return what a cursor says. Raises Invalid unless it was written for this order."""
        try:
            return list(signing.loads(cursor, salt=self.order.salt))
        except signing.BadSignature:
            words = "comes from the links next and previous of a list in this order"
            raise Invalid.field("cursor", words) from None

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """Return the parameters as OpenAPI has them."""
        cursor = _parameter(self.parameters[-1], self.cursor_words, self.cursor_schema)
        return [*super().get_schema_operation_parameters(view), cursor]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the page as OpenAPI has it."""
        page = super().get_paginated_response_schema(schema)
        words = f"All rows that match; null where `{self.parameters[-1]}` is used."
        page["properties"]["count"] |= {"nullable": True, "description": words}
        words = (
            f"True where `count` is an estimate, of more than {MOST_COUNTED} rows; else missing."
        )
        page["properties"]["count_estimated"] = {"type": "boolean", "description": words}
        return page


class HistoryPage(CursorPage):
    """A page of rows that only grow at their end: the cursor is the number of the last row."""

    parameters = ("limit", "offset", "after")
    cursor_words = (
        "Rows with a greater id. Poll with the last id seen: each row comes once, in order. Not "
        "with `offset`."
    )
    cursor_schema = {"type": "integer", "minimum": 0, "maximum": MAX_KEY}

    def written(self, key: list[Any], *, back: bool) -> str:
        """Return the number of the last row."""
        return str(key[0])

    def read(self, cursor: str) -> list[Any]:
        """Return the number after which the page begins. Raises Invalid."""
        query = self.request.query_params
        return [False, integer(query, "after", least=0, most=MAX_KEY, default=0)]

    def get_previous_link(self) -> str | None:
        """Return the address of the page before this one, where the page was found by offset."""
        return super().get_previous_link() if self.count is not None else None


class FeedPage(HistoryPage):
    """A page of a feed, from which old rows go to the archive; the page says up to which row."""

    archived_words = (
        "Rows up to this id were archived, some or all of them, and are missing here; null where "
        "`after` is not lower."
    )

    def paginate_queryset(
        self, queryset: Any, request: Request, view: APIView | None = None
    ) -> list[Any]:
        """Return the rows of the page asked for. Raises Invalid for bad bounds and cursors."""
        after = integer(request.query_params, "after", least=0, most=MAX_KEY, default=0)
        page = super().paginate_queryset(queryset, request, view)
        # Read after the rows: rows that went meanwhile are told, too.
        archived = queryset.archived_up_to()
        self.archived = archived if archived > after else None
        return page

    def get_paginated_response(self, data: Any) -> Response:
        """Return the page, with the id up to which rows may be missing from it."""
        answer = super().get_paginated_response(data)
        answer.data["archived_up_to"] = self.archived
        return answer

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the page as OpenAPI has it."""
        page = super().get_paginated_response_schema(schema)
        number = {"type": "integer", "nullable": True, "description": self.archived_words}
        page["properties"]["archived_up_to"] = number
        page["required"].append("archived_up_to")
        return page


class _Order:
    """The order of a queryset, whose values in a row name the place of the row.

    `rows` is the queryset in this order, annotated with the values. The order ends with a unique
    column.
    """

    def __init__(self, queryset: QuerySet[Any]) -> None:
        given: Sequence[Any] = queryset.query.order_by or queryset.model._meta.ordering
        parts = [
            OrderBy(F(one.lstrip("-")), descending=one.startswith("-"))
            if isinstance(one, str)
            else one
            for one in given
        ]
        self.down = {f"key_{place}": part.descending for place, part in enumerate(parts)}
        keys = dict(zip(self.down, (part.expression for part in parts), strict=True))
        by = [OrderBy(F(name), descending=down) for name, down in self.down.items()]
        self.rows = queryset.annotate(**keys).order_by(*by)
        self.salt = f"{queryset.model._meta.label} {parts}"
        annotations = self.rows.query.annotations
        self.nullable = {name for name in self.down if annotations[name].output_field.null}

    def key(self, row: Any) -> list[Any]:
        """Return the values of a row, as JSON has them."""
        values = [getattr(row, name) for name in self.down]
        return [one if isinstance(one, int | str | None) else str(one) for one in values]

    def beyond(self, key: list[Any], *, back: bool) -> Q:
        """Return the condition that a row comes after the one with this key, or before it."""
        found, same, lead = Q(), Q(), Q()
        for (name, descending), value in zip(self.down.items(), key, strict=True):
            down = descending != back
            if not same and name not in self.nullable:
                # Leads an index to the place; the alternatives below do not.
                lead = Q(**{f"{name}__{'lte' if down else 'gte'}": value})
            found |= same & self._after(name, value, down=down)
            same &= Q(**{f"{name}__isnull": True}) if value is None else Q(**{name: value})
        return lead & found

    def _after(self, name: str, value: Any, *, down: bool) -> Q:
        nulls_come_last = connection.features.nulls_order_largest != down
        if value is None:
            return Q(pk__in=()) if nulls_come_last else Q(**{f"{name}__isnull": False})
        later = Q(**{f"{name}__{'lt' if down else 'gt'}": value})
        with_nulls = nulls_come_last and name in self.nullable
        return later | Q(**{f"{name}__isnull": True}) if with_nulls else later


def _parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": schema,
    }
