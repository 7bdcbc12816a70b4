"""`ETag`, `If-Match` and `If-None-Match`: the version of one object (RFC 9110).

A version changes with the fields that a person may set and with the state, never with a heartbeat
or a count.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.db.models import Model
from django.http import HttpResponse
from rest_framework.request import Request

from hopper.conditions import on_condition
from hopper.errors import FieldError, Invalid, VersionChanged
from hopper.masks import masked

IF_MATCH = "If-Match"
IF_NONE_MATCH = "If-None-Match"
MOST_SHOWN = 500
"""The most characters of a value in a refusal."""
_TAG = r'(?:W/)?"[\x21\x23-\x7e]*"'
_TAGS = re.compile(rf"\s*(?:\*|{_TAG}(?:\s*,\s*{_TAG})*)\s*")


@dataclass(frozen=True)
class Version:
    """Which fields of the objects of a model make their version, and how an object is shown."""

    model: type[Model]
    show: Callable[[str], Mapping[str, Any]]
    fields: tuple[str, ...]

    def tag(self, shown: Any) -> str | None:
        """Return the ETag of an answer, or None for an answer that is no such object."""
        if not isinstance(shown, dict) or not shown.keys() >= set(self.fields):
            return None
        values = [shown[name] for name in self.fields]
        text = json.dumps(values, sort_keys=True, default=str)
        return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'

    def matching(self, request: Request, pk: str) -> AbstractContextManager[None]:
        """Refuse a change unless the object has one of the versions in If-Match."""
        wanted = _tags(request, IF_MATCH)

        def check() -> None:
            stored = self.show(pk)
            found = self.tag(stored)
            if wanted is not None and found not in wanted and "*" not in wanted:
                raise VersionChanged(
                    f"{pk} was changed since you read it. Read it again, then repeat your change.",
                    errors=self._both(stored, request.data),
                    etag=found,
                )

        return on_condition(self.model, pk, check)

    def _both(self, stored: Mapping[str, Any], given: Any) -> list[FieldError]:
        """Return the stored and the given value of each field that the body would change."""
        changes = given if isinstance(given, dict) else {}
        return [
            FieldError(
                name,
                "differs",
                f"stored is {_shown(stored[name])}, you sent {_shown(changes[name])}",
            )
            for name in self.fields
            if name in changes and changes[name] != stored[name]
        ]


def _shown(value: Any) -> str:
    """Return a value as JSON, a long one cut, so that a refusal stays small."""
    text = masked(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


def versioned(request: Request, text: bytes) -> HttpResponse:
    """Return an answer of JSON with the ETag of its text, or 304 to a caller that has it."""
    tag = f'"{hashlib.sha256(text).hexdigest()[:32]}"'
    if is_known(request, tag):
        return HttpResponse(status=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag})
    return HttpResponse(text, content_type="application/json", headers={"ETag": tag})


def is_known(request: Request, tag: str) -> bool:
    """Return whether the caller of a GET has this version already (If-None-Match)."""
    known = _tags(request, IF_NONE_MATCH) or frozenset()
    return "*" in known or tag in known


def require_tags(request: Request) -> None:
    """Raise Invalid for an If-None-Match that is no list of ETags."""
    _tags(request, IF_NONE_MATCH)


def _tags(request: Request, header: str) -> frozenset[str] | None:
    """Return the tags of a header, None without it. A proxy that compresses adds W/ to a tag."""
    text = request.headers.get(header)
    if text is None:
        return None
    if not _TAGS.fullmatch(text):
        raise Invalid.field(header, 'ETags in quotes, such as "0f3a", or *')
    return frozenset(re.findall(r'\*|"[^"]*"', text))
