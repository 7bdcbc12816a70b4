"""Pages: `limit` and `offset`, and for histories that only grow, `after` the last id seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rest_framework.pagination import BasePagination
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param

from hopper.errors import Invalid
from hopper.rest.input import MAX_PARAMETER, integer

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from rest_framework.request import Request
    from rest_framework.views import APIView

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
MAX_KEY = 2**63 - 1
MAX_ID = 64


class Page(BasePagination):
    """`{"count", "next", "previous", "results"}`."""

    parameters: tuple[str, ...] = ("limit", "offset")

    def paginate_queryset(
        self, queryset: Any, request: Request, view: APIView | None = None
    ) -> list[Any]:
        """Return the rows of the page asked for. Raises Invalid for bad bounds."""
        query = request.query_params
        self.request = request
        self.limit = integer(query, "limit", least=1, most=MAX_LIMIT, default=DEFAULT_LIMIT)
        self.offset = integer(query, "offset", least=0, most=MAX_PARAMETER, default=0)
        is_list = isinstance(queryset, list)
        self.count: int | None = len(queryset) if is_list else queryset.count()
        if self.offset >= self.count:
            return []
        return list(queryset[self.offset : self.offset + self.limit])

    def get_paginated_response(self, data: Any) -> Response:
        """Return the page around its rows."""
        return Response(
            {
                "count": self.count,
                "next": self.next_link(),
                "previous": self.previous_link(),
                "results": data,
            }
        )

    def next_link(self) -> str | None:
        """Return the address of the page after this one."""
        following = self.offset + self.limit
        if self.count is None or following >= self.count:
            return None
        return self._link(following)

    def previous_link(self) -> str | None:
        """Return the address of the page before this one."""
        if self.offset <= 0:
            return None
        before = max(0, self.offset - self.limit)
        return self._link(before)

    def _link(self, offset: int) -> str:
        url = replace_query_param(self.request.build_absolute_uri(), "limit", self.limit)
        if not offset:
            return remove_query_param(url, "offset")
        return replace_query_param(url, "offset", offset)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """Return the parameters as OpenAPI has them."""
        return [
            _integer_parameter("limit", "Rows on a page.", 1, MAX_LIMIT, DEFAULT_LIMIT),
            _integer_parameter("offset", "Rows to skip.", 0, MAX_PARAMETER, 0),
        ]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the page as OpenAPI has it."""
        link = {"type": "string", "nullable": True, "format": "uri"}
        return {
            "type": "object",
            "required": ["count", "next", "previous", "results"],
            "properties": {
                "count": {
                    "type": "integer",
                    "nullable": True,
                    "description": "All rows that match; null where `after` is used.",
                },
                "next": link,
                "previous": link,
                "results": schema,
            },
        }


class KeysetPage(Page):
    """A page of a table that only grows: `after` an id costs the same at any size."""

    parameters = ("limit", "offset", "after")

    def paginate_queryset(  # type: ignore[override]
        self, queryset: QuerySet[Any], request: Request, view: APIView | None = None
    ) -> list[Any]:
        """Return the rows of the page asked for, by offset or by key."""
        self.after = request.query_params.get("after")
        if self.after is None:
            return super().paginate_queryset(queryset, request, view)
        if {"offset", "ordering"} & set(request.query_params):
            raise Invalid.field("after", "goes by id: it cannot be joined with offset or ordering")
        query = request.query_params
        self.request, self.offset, self.count = request, 0, None
        self.limit = integer(query, "limit", least=1, most=MAX_LIMIT, default=DEFAULT_LIMIT)
        key: Any = self.after
        if queryset.model._meta.pk.get_internal_type() != "CharField":
            key = integer(query, "after", least=0, most=MAX_KEY, default=0)
        elif len(key) > MAX_ID:
            raise Invalid.field("after", f"an id has at most {MAX_ID} characters", "max_length")
        rows = list(queryset.filter(pk__gt=key).order_by("pk")[: self.limit + 1])
        self.last = rows[self.limit - 1].pk if len(rows) > self.limit else None
        return rows[: self.limit]

    def next_link(self) -> str | None:
        """Return the address of the page after this one."""
        if self.after is None:
            return super().next_link()
        if self.last is None:
            return None
        return replace_query_param(self.request.build_absolute_uri(), "after", self.last)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """Return the parameters as OpenAPI has them."""
        pk = view.queryset.model._meta.pk.get_internal_type()
        schema = (
            {"type": "string", "minLength": 1, "maxLength": MAX_ID}
            if pk == "CharField"
            else {"type": "integer", "minimum": 0, "maximum": MAX_KEY}
        )
        words = (
            "Rows with a greater id, in the order of ids: costs the same at any table size, where "
            "a large `offset` does not. Not together with `offset` or `ordering`."
        )
        return [
            *super().get_schema_operation_parameters(view),
            {
                "name": "after",
                "in": "query",
                "required": False,
                "description": words,
                "schema": schema,
            },
        ]


def _integer_parameter(
    name: str, description: str, least: int, most: int, default: int
) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": {"type": "integer", "minimum": least, "maximum": most, "default": default},
    }
