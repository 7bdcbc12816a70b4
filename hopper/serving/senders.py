"""Whether a sender is known, judged by the head of a request alone."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import resolve
from rest_framework.exceptions import APIException

from hopper.errors import HopperError
from hopper.rest.middleware import one_form


def is_known(request: HttpRequest) -> bool:
    """Return whether the head of a request brings credentials that its address accepts.

    Reads no body. False also for an address that does not exist.
    """
    SessionMiddleware(_nothing).process_request(request)
    AuthenticationMiddleware(_nothing).process_request(request)
    try:
        match = resolve(one_form(request.path_info))
    except Http404:
        return False
    view_class: Any = getattr(match.func, "cls", None)
    if view_class is None:
        return request.user.is_authenticated
    # `as_view` of DRF gives the function this attribute; its type does not name it.
    view = view_class(**match.func.initkwargs)  # type: ignore[attr-defined]
    view.action_map = getattr(match.func, "actions", None) or {}
    view.args, view.kwargs = match.args, match.kwargs
    view.request = view.initialize_request(request, *match.args, **match.kwargs)
    try:
        view.perform_authentication(view.request)
        view.check_permissions(view.request)
    except (APIException, HopperError):
        return False
    return True


def _nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse()
