"""The transport of REST calls, and the client that the commands use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qs, quote, urlencode, urlsplit

PREFIX = "/api/v1"
PAGE = 500
_TRIES = 5
NOT_HOPPER = "Check --server or HOPPER_URL: it must be Hopper's own base address."

Params = Mapping[str, str | int | bool | Sequence[str] | None]


@dataclass(frozen=True)
class Reply:
    """The answer to one call: HTTP status, decoded body (None when there is none), and ETag."""

    status: int
    data: Any
    tag: str = ""


class Transport(Protocol):
    """Makes one call. Raises CliError if there is no answer, never for a refusal.

    `key` is the Idempotency-Key of a POST (R20): None for a new one, empty for none. `seconds`: one
    try, given up after so long; the caller repeats it. `tag` is the version to change (If-Match).
    """

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: Any = None,
        key: str | None = None,
        seconds: float | None = None,
        tag: str = "",
    ) -> Reply: ...


class CliError(Exception):
    """A command cannot go on: a message, and an optional hint."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def lines(self) -> Iterator[str]:
        """Yield the lines for a person, the most important first."""
        yield self.message
        if self.hint:
            yield self.hint


class UsageError(CliError):
    """The arguments do not fit together."""

    exit_code = 2


class Unreachable(CliError):
    """There was no answer, or no answer of Hopper."""


class Refused(CliError):
    """The server refused: its problem (RFC 9457) in words."""

    KNOWN = frozenset({"type", "title", "status", "detail", "code", "errors", "instance"})

    def __init__(self, reply: Reply) -> None:
        self.status = reply.status
        self.problem: dict[str, Any] = reply.data if isinstance(reply.data, dict) else {}
        self.code = str(self.problem.get("code", ""))
        detail = self.problem.get("detail") or self.problem.get("title")
        hint = ""
        if reply.status == 401:
            hint = "Give a token with --token or HOPPER_TOKEN."
        super().__init__(str(detail or f"The server answered {reply.status}."), hint=hint)

    def lines(self) -> Iterator[str]:
        yield self.message
        for error in self.problem.get("errors") or ():
            if not isinstance(error, Mapping):
                continue
            line = f"{error.get('field') or 'body'}: {error.get('detail', '')}"
            # For a single wrong field the message already names it.
            if line.removesuffix(".") != self.message.removesuffix("."):
                yield f"  {line}"
        for key, value in self.problem.items():
            if key not in self.KNOWN and value not in (None, "", [], {}):
                yield f"  {key}: {in_words(value)}"
        if self.hint:
            yield self.hint


def in_words(value: Any) -> str:
    """Return a JSON value as one line for a person."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {in_words(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(in_words(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


def at(*parts: str) -> str:
    """Return the path of a resource below `/api/v1`, with every part quoted."""
    for part in parts:
        if part.strip(".") == "":
            raise CliError(f"'{part}' is not an id.")
    with _utf8():
        return "".join("/" + quote(part, safe="") for part in parts)


def query(params: Params | None) -> str:
    """Return the query string of the parameters that were given."""
    given = {
        key: ("true" if value else "false") if isinstance(value, bool) else value
        for key, value in (params or {}).items()
        if value is not None
    }
    with _utf8():
        return f"?{urlencode(given, doseq=True)}" if given else ""


@contextmanager
def _utf8() -> Iterator[None]:
    """Raise CliError for a text that has bytes of the command line that are not UTF-8."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise CliError(f"{error.object!a} is not UTF-8 text.") from None


def clean(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are not None."""
    return {key: value for key, value in fields.items() if value is not None}


def unseen(row: Any, seen: set[Any]) -> bool:
    """Return whether a row's id (if it has one) is new, and remember it."""
    id = row.get("id") if isinstance(row, dict) else None
    if id is None:
        return True
    known = id in seen
    seen.add(id)
    return not known


class Client:
    """The REST contract as the handlers use it: paths below `/api/v1`, refusals as exceptions."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def call(self, method: str, path: str, **options: Any) -> Reply:
        """Return the reply to one call. Raises Refused for 4xx and 5xx."""
        reply = self._transport.request(method, path, **options)
        if reply.status >= 400:
            raise Refused(reply)
        if reply.status >= 300:
            raise Unreachable(
                f"The server answered {reply.status}, which Hopper never does.",
                hint=NOT_HOPPER,
            )
        return reply

    def get(self, path: str, params: Params | None = None) -> Any:
        """Return the body of a GET."""
        return self.call("GET", path, params=params).data

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        """Return the body of the answer to a POST."""
        return self.call("POST", path, body={} if body is None else body, **options).data

    def patch(self, path: str, body: Any) -> Any:
        """Return the body of the answer to a PATCH."""
        return self.call("PATCH", path, body=body).data

    def amend(self, path: str, change: Callable[[Any], Any]) -> Any:
        """Read an object and PATCH it with what `change` makes of it; again if it was changed.

        Raises Refused if others change it faster than that.
        """
        for _ in range(_TRIES):
            seen = self.call("GET", path)
            try:
                return self.call("PATCH", path, body=change(seen.data), tag=seen.tag).data
            except Refused as refusal:
                if refusal.code != "version_changed":
                    raise
                last = refusal
        raise last

    def delete(self, path: str, params: Params | None = None) -> Any:
        """Return the body of the answer to a DELETE (None for 204)."""
        return self.call("DELETE", path, params=params).data

    def pages(
        self, path: str, params: Params | None = None, *, limit: int | None = None
    ) -> list[Any]:
        """Return the rows of a list, page after page to its end or to `limit` rows."""
        rows: list[Any] = []
        seen: set[Any] = set()
        wanted = dict(params or {})
        wanted["limit"] = PAGE if limit is None else min(limit, PAGE)
        page_params: Params = wanted
        while True:
            page = self.get(path, page_params)
            if isinstance(page, list):
                return page[:limit]
            # A new row may push a row that was already read onto the next page.
            rows += [row for row in page["results"] if unseen(row, seen)]
            if not page.get("next") or (limit is not None and len(rows) >= limit):
                return rows[:limit]
            page_params = parse_qs(urlsplit(page["next"]).query, keep_blank_values=True)
