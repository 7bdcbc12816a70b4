"""The OpenAPI schema: one Problem, declared for every answer that can be a problem."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiSerializerExtension,
)
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from hopper.rest.auth import (
    BY_LEASE,
    BearerAuthentication,
    LeaseAuthentication,
    LocalOperatorAuthentication,
    OpenAuthentication,
)
from hopper.rest.etags import IF_MATCH, IF_NONE_MATCH
from hopper.rest.fields import StrictSerializer
from hopper.rest.idempotency import HEADER
from hopper.rest.input import MAX_TEXT, MAY_BE_EMPTY, MAY_BE_LONG
from hopper.rest.problem import MEDIA_TYPE
from hopper.rest.problem_serializers import ProblemSerializer

_WORDS = {
    304: "You have this version (If-None-Match).",
    400: "The input is not valid.",
    401: "There are no valid credentials.",
    403: "You may see this but not do it.",
    404: "No object that you may see has this id.",
    405: "There is no such method at this address.",
    406: "Only JSON is answered.",
    408: "The body did not arrive in time.",
    409: "The present state does not allow this. The problem names what is allowed.",
    410: "The task is archived, or was cancelled, or the instance terminated (R21).",
    412: "The object is no longer the one that you read (If-Match).",
    413: "The body is too large.",
    414: "The address is longer than 16 KB.",
    415: "Only application/json is understood.",
    422: "A rule forbids this, whatever the state.",
    429: "Too many requests of this credential, or wrong credentials; Retry-After says how long.",
    431: "The head of the request is longer than 64 KB.",
    503: "The database cannot be reached now, or is busy; Retry-After says when to try again.",
}
WORKER_CALLS = frozenset(
    {"claim", "start_work", "heartbeat", "complete", "fail", "release", "escalate"}
)
"""Actions that answer 410 to a worker (R21). A request for an archived task is 410 as well."""

_CONDITIONAL = ("retrieve", "hierarchy")
"""The GETs that answer 304 to a caller who has their version."""

_ID = {"type": "string", "maxLength": 100, "pattern": "^[a-z0-9][a-z0-9._-]*$"}


_ETAG = OpenApiParameter(
    "ETag",
    {"type": "string"},
    OpenApiParameter.HEADER,
    response=[200, 201],
    description="The version; of a task or an instance its fields and state, without counts.",
)


def _version_parameter(name: str, words: str) -> OpenApiParameter:
    schema = {"type": "string", "pattern": '^(\\*|"[!#-~]*")$'}
    return OpenApiParameter(name, schema, OpenApiParameter.HEADER, description=words)


_VERBS = {
    "list": "list",
    "retrieve": "get",
    "create": "create",
    "update": "put",
    "partial_update": "update",
    "destroy": "delete",
}
_NAMED = {
    ("GET",): "list_addresses",
    ("tasks", "bulk"): "create_tasks",
    ("tasks", "search"): "search_tasks",
    ("tasks", "status"): "set_task_status",
    ("tasks", "feedback", "POST"): "add_task_feedback",
    ("instances", "claim"): "claim_next_tasks",
    ("instances", "next"): "complete_and_claim_tasks",
    ("rules", "preview"): "preview_route",
}
"""The operations whose name is no verb and noun, by the words of the path (and the method)."""


class HopperSchema(AutoSchema):
    """Names every operation, and adds its problems and the key header of a POST."""

    def get_operation_id(self) -> str:
        """Return verb and noun: list_tasks, get_task, claim_task, list_task_events."""
        words = [word for word in self.path.split("/")[3:] if word and word[0] != "{"]
        named = _NAMED.get((*words, self.method)) or _NAMED.get(tuple(words))
        if named:
            return named
        noun, *rest = words
        one = noun.removesuffix("s")
        if not rest:
            verb = _VERBS[getattr(self.view, "action", "")]
            return f"{verb}_{noun if verb == 'list' else one}"
        if self.method != "GET":
            return f"{rest[0]}_{one if '{' in self.path else noun}"
        return f"{'list' if self._is_list_view() else 'get'}_{one}_{rest[0]}"

    def get_summary(self) -> str:
        """Return the first sentence of the description, without its full stop."""
        return self.get_description().split("\n\n")[0].replace("\n", " ").split(". ")[0].rstrip(".")

    def get_override_parameters(self) -> list[Any]:
        """Return the parameter `Idempotency-Key` for a POST (R20)."""
        key = OpenApiParameter(
            HEADER,
            {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
            OpenApiParameter.HEADER,
            description="Repeating the request with this key replays its answer for 24 hours.",
        )
        found = [key] if self.method == "POST" else []
        if self._shows_version():
            found += [_version_parameter(IF_NONE_MATCH, "Answer 304 to this version."), _ETAG]
        elif self._changes_version():
            words = "Change only this version; of another one the answer is 412."
            found += [_version_parameter(IF_MATCH, words), _ETAG]
        return found

    def _shows_version(self) -> bool:
        return getattr(self.view, "action", "") in _CONDITIONAL and self._has_version()

    def _changes_version(self) -> bool:
        return self.method != "GET" and self._has_version()

    def _has_version(self) -> bool:
        return getattr(self.view, "version", None) is not None and "{" in self.path

    def _get_parameters(self) -> Any:
        parameters = super()._get_parameters()
        for parameter in parameters:
            schema = parameter["schema"]
            if parameter["in"] == "path" and schema.get("type") == "string":
                schema.update(_ID)
            if parameter["name"] == "ordering":
                schema["minItems"] = 1
            plain = schema.get("type") == "string" and not {"enum", "format"} & set(schema)
            if parameter["in"] == "query" and plain and parameter["name"] not in MAY_BE_EMPTY:
                schema.setdefault("minLength", 1)
            if parameter["in"] == "query" and plain and parameter["name"] not in MAY_BE_LONG:
                schema.setdefault("maxLength", MAX_TEXT)
        return parameters

    def _unwrap_list_serializer(self, serializer: Any, direction: Any) -> Any:
        """Return the schema of a list, with the bounds of its length where it has some."""
        schema = super()._unwrap_list_serializer(serializer, direction)
        bounds = {"minItems": "min_length", "maxItems": "max_length"}
        told = {name: getattr(serializer, bound, None) for name, bound in bounds.items()}
        return schema and {**schema, **{name: one for name, one in told.items() if one is not None}}

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        bodies = super()._get_response_bodies(direction)
        for status in self._problem_statuses():
            bodies.setdefault(
                str(status),
                # The library has no types here.
                self._get_response_for_code(  # type: ignore[no-untyped-call]
                    OpenApiResponse(ProblemSerializer, description=_WORDS[status]),
                    str(status),
                    [MEDIA_TYPE],
                    direction,
                ),
            )
        if self._shows_version():
            bodies["304"] = {"description": _WORDS[304]}
        return dict(sorted(bodies.items()))

    def _problem_statuses(self) -> list[int]:
        statuses = [400, 401, 403, 405, 406, 414, 429, 431, 503]
        if "{" in self.path:
            statuses.append(404)
        if self.method != "GET":
            statuses += [408, 409, 413, 415, 422]
        if self._changes_version():
            statuses.append(412)
        if getattr(self.view, "action", "") in WORKER_CALLS or "/tasks/{id}" in self.path:
            statuses.append(410)
        return sorted(statuses)


class _StrictBody(OpenApiSerializerExtension):
    """Close the schema of a body to unknown fields. Read-only fields are allowed and ignored."""

    target_class = StrictSerializer
    match_subclasses = True

    def map_serializer(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        schema: dict[str, Any] = auto_schema._map_serializer(
            self.target, direction, bypass_extensions=True
        )
        known = schema.setdefault("properties", {})
        for name in sorted(self.target.ignored - set(known)):
            known[name] = {"description": "Read-only: ignored in a request."}
        schema["additionalProperties"] = False
        return schema


class _BearerScheme(OpenApiAuthenticationExtension):
    target_class = BearerAuthentication
    name = "bearerAuth"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "hop_…"}


class _LeaseScheme(OpenApiAuthenticationExtension):
    """`Authorization: Lease TOKEN`, for a worker's reports on its own task."""

    target_class = LeaseAuthentication
    name = "leaseAuth"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "apiKey", "in": "header", "name": "Authorization"}

    def get_security_requirement(self, auto_schema: AutoSchema) -> Any:
        action = getattr(auto_schema.view, "action", "")
        return {self.name: []} if action in BY_LEASE else []


class _NoScheme(OpenApiAuthenticationExtension):
    """Authenticators without a credential in the request."""

    target_class: Any = LocalOperatorAuthentication
    name = []

    def get_security_definition(self, auto_schema: AutoSchema) -> list[Any]:
        return []

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[Any]:
        return []


class _OpenScheme(_NoScheme):
    target_class = OpenAuthentication
