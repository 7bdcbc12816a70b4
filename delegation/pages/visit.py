"""A visit: the signed-in person, the person's rights, and refusals shown as a page."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, wraps
from types import SimpleNamespace
from typing import Any, cast

from django.conf import settings
from django.contrib.auth.views import LoginView, redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import patch_cache_control
from django.views.decorators.gzip import gzip_page
from rest_framework.request import Request

from delegation.pages.watch import WATCH
from hopper.actors import Actor
from hopper.errors import HopperError, NotAllowed
from hopper.rest.auth import Operator
from instances.api.permissions import actor_of, require_role, visible_instances

View = Callable[..., HttpResponse]

FRAGMENT = "X-Fragment"
"""The header with which the script of a page asks for the middle of the page alone."""


@dataclass
class Visit:
    """A request of a signed-in person. Rights are those of the REST interface.

    `cursor` is the position in the feed from which the page goes on.
    """

    request: HttpRequest
    user: Any
    cursor: int = 0

    @cached_property
    def actor(self) -> Actor:
        """The person as an actor with its grants."""
        return actor_of(cast("Request", SimpleNamespace(user=self.user, auth=None)))

    @cached_property
    def places(self) -> dict[str, str]:
        """The names of the visible instances by id."""
        return dict(visible_instances(self.actor).values_list("pk", "name"))

    @cached_property
    def attention(self) -> int:
        """The number of visible tasks and instances that wait for a person, as far as known."""
        return WATCH.attention(self.actor) if WATCH.is_ready else 0

    def may(self, role: str, instance_ids: Iterable[str | None]) -> bool:
        """Return whether the person holds `role` at one of the instances or above it."""
        try:
            require_role(self.actor, role, instance_ids)
        except NotAllowed:
            return False
        return True

    def show(self, template: str, *, status: int = 200, **context: Any) -> HttpResponse:
        """Return a page with the `context`, or its middle alone where the script asks for that."""
        frame = "pages/fragment.html" if FRAGMENT in self.request.headers else "pages/frame.html"
        context |= {"visit": self, "frame": frame, "streams": hasattr(self.request, "scope")}
        response = render(self.request, template, context, status=status)
        patch_cache_control(response, private=True, no_store=True)
        response["Vary"] = f"Cookie, {FRAGMENT}"
        return response


def visitor_of(request: HttpRequest) -> Any:
    """Return the account of a request, anybody under HOPPER_AUTH=off, or None."""
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated and user.is_active:
        return user
    return Operator("anybody") if settings.HOPPER_AUTH == "off" else None


def signed_in(view: Callable[..., HttpResponse]) -> View:
    """Return the view for signed-in people. Sends strangers to the sign-in; shows refusals."""

    @wraps(view)
    def opened(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        user = visitor_of(request)
        if user is None:
            return redirect_to_login(request.get_full_path(), reverse("pages:sign-in"))
        visit = Visit(request, user)
        try:
            return view(visit, *args, **kwargs)
        except HopperError as refusal:
            return visit.show("pages/refusal.html", status=refusal.status, refusal=refusal)

    return opened


def page(view: Callable[..., HttpResponse]) -> View:
    """Return the view of a page that stays open, with the cursor from which it goes on."""

    @wraps(view)
    def opened(visit: Visit, *args: Any, **kwargs: Any) -> HttpResponse:
        WATCH.look_for_page()
        # Where the tree is not read yet, the page hears of it as of a change.
        visit.cursor = max(0, WATCH.cursor)
        return view(visit, *args, **kwargs)

    return gzip_page(signed_in(opened))


class SignIn(LoginView):
    """Name and password; then the page that was asked for."""

    template_name = "pages/sign_in.html"
    next_page = "/"
    redirect_authenticated_user = True

    def render_to_response(self, context: Any, **more: Any) -> HttpResponse:
        """Return the form. It is never shown from a store."""
        response = super().render_to_response(context, **more)
        response["Cache-Control"] = "no-store"
        return response
