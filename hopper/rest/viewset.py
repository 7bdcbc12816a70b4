"""The base class of every view: strict input, problems as answers, idempotent POST."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

from django.db.models import Model
from django_filters import MultipleChoiceFilter
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from hopper.config.files import CONFIGURATION
from hopper.errors import Invalid, NotAllowed, NotFound
from hopper.json_values import text_problem
from hopper.rest.auth import Lease
from hopper.rest.etags import IF_MATCH, IF_NONE_MATCH, Version, is_known, require_tags
from hopper.rest.filters import WordsParameter
from hopper.rest.idempotency import HEADER, carry_out_once, unless_deadlocked
from hopper.rest.input import StrictJSONParser, require_known
from hopper.rest.problem import Negotiation

BODILESS = frozenset({"GET", "HEAD", "DELETE"})
_EMPTY = re.compile(rb"\s*(\{\s*\})?\s*")


class HopperViewSet(GenericViewSet[Any]):
    """A viewset that refuses unknown parameters and fields.

    `query_parameters` gives the allowed parameters of each action. `listed` names the actions that
    answer filtered pages. `answers` is the model that stores the answers to keyed POSTs (R20).
    `version` tells the version of the object that an address names.
    """

    parser_classes = [StrictJSONParser]
    content_negotiation_class = Negotiation
    http_method_names = ["get", "post", "put", "patch", "delete", "head"]
    query_parameters: dict[str, tuple[str, ...]] = {}
    listed: tuple[str, ...] = ("list",)
    answers: type[Model]
    version: Version | None = None
    post: Callable[..., Any]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Authenticate, then check path and query strictly.

        Raises BrokenConfig before the first write if no configuration was ever usable.
        """
        super().initial(request, *args, **kwargs)
        if not self.action:
            self.http_method_not_allowed(request)
        for value in kwargs.values():
            if text_problem(str(value)):
                raise NotFound
        if request.method not in SAFE_METHODS and IF_NONE_MATCH in request.headers:
            raise Invalid.field(IF_NONE_MATCH, "only a GET takes it; a change takes If-Match")
        if self.version and request.method in SAFE_METHODS:
            require_tags(request)
        require_known(request.query_params, self.known_parameters(), self.repeatable_parameters())
        if request.method in BODILESS and _says_something(request):
            words = f"a {request.method} takes no body: give the options in the query"
            raise Invalid.field("body", words)
        if request.method not in SAFE_METHODS:
            # Otherwise a task could be committed, then not placed, and its creation answered as
            # failed.
            CONFIGURATION.require_usable()
        # The dispatcher looks the handler up after this.
        method = str(request.method).lower()
        if method == "post":
            self.post = partial(self._carry_out, partial(self._if_matching, self.post))
        elif method in ("put", "patch", "delete"):
            handler = partial(self._if_matching, getattr(self, method))
            setattr(self, method, partial(unless_deadlocked, handler))

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Give the answer its ETag; answer 304 to a caller that has this version already."""
        tag = self.version.tag(getattr(response, "data", None)) if self.version else None
        if tag is not None:
            response["ETag"] = tag
            if request.method in SAFE_METHODS and is_known(request, tag):
                response = Response(status=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag})
        return super().finalize_response(request, response, *args, **kwargs)

    def lease(self, token: str) -> Lease | None:
        """Return the lease of this token for the present action, None for a wrong token.

        Raises NotAllowed for an action that no lease may do: any but a worker's reports.
        """
        raise NotAllowed("A lease's token reports on its own task and does nothing else.")

    def before_key(self, **kwargs: Any) -> None:
        """Do the part of a POST that must not run inside the transaction of its key (R20)."""

    def _carry_out(
        self, handler: Callable[..., Any], request: Request, *args: Any, **kwargs: Any
    ) -> Any:
        if HEADER in request.headers:
            self.before_key(**kwargs)
        return carry_out_once(self.answers, request, handler, *args, **kwargs)

    def _if_matching(
        self, handler: Callable[..., Any], request: Request, *args: Any, **kwargs: Any
    ) -> Any:
        if IF_MATCH not in request.headers:
            return handler(request, *args, **kwargs)
        if self.version is None or "pk" not in kwargs:
            raise Invalid.field(IF_MATCH, "only a change of one task or one instance takes it")
        with self.version.matching(request, kwargs["pk"]):
            return handler(request, *args, **kwargs)

    def repeatable_parameters(self) -> set[str]:
        """Return the filters that may be given several times."""
        filterset = getattr(self, "filterset_class", None) if self.action in self.listed else None
        many = (MultipleChoiceFilter, WordsParameter)
        known = filterset.base_filters.items() if filterset else ()
        return {name for name, found in known if isinstance(found, many)}

    def known_parameters(self) -> set[str]:
        """Return the query parameters of the present action."""
        known = set(self.query_parameters.get(self.action or "", ()))
        if self.action in self.listed:
            known |= set(getattr(self.paginator, "parameters", ()))
            filterset = getattr(self, "filterset_class", None)
            known |= set(filterset.base_filters) if filterset else set()
        return known


def _says_something(request: Request) -> bool:
    """Return whether a request has a body other than `{}`, which many clients send for none."""
    if request.META.get("CONTENT_LENGTH") in (None, "", "0"):
        return False
    return not _EMPTY.fullmatch(request._request.body)
