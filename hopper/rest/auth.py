"""Who is calling: the local operator, a token, a session, or anybody where that was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone
from knox.auth import TokenAuthentication
from knox.models import get_token_model
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import (
    AuthenticationFailed,
    PermissionDenied,
    UnsupportedMediaType,
)
from rest_framework.permissions import SAFE_METHODS

from hopper.errors import NotAllowed

if TYPE_CHECKING:
    from rest_framework.request import Request

OPERATOR_KEY = "hopper.local_operator"
CHALLENGE = 'Bearer realm="hopper"'
BY_LEASE = frozenset({"heartbeat", "complete", "fail", "release"})
"""Actions that a lease's token alone may do, on its own task (R21)."""
_WORDS = (b"bearer", b"token")


class Operator(AnonymousUser):
    """A caller without an account: whoever reaches the store, or anybody if that was asked for."""

    is_active = True  # type: ignore[assignment]

    def __init__(self, name: str) -> None:
        super().__init__()
        self.username = name  # type: ignore[assignment]

    @property
    def is_authenticated(self) -> bool:  # type: ignore[override]
        """Always so: the way in was the credential."""
        return True

    @property
    def is_anonymous(self) -> bool:  # type: ignore[override]
        """Never so."""
        return False


class LocalOperatorAuthentication(BaseAuthentication):
    """An in-process call marked in the environ by a key that no HTTP header can produce."""

    def authenticate(self, request: Request) -> tuple[Operator, None] | None:
        name = request._request.META.get(OPERATOR_KEY)
        return (Operator(str(name)), None) if name else None

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge: the first way in speaks for all when nobody came in."""
        return CHALLENGE


class BearerAuthentication(TokenAuthentication):
    """`Authorization: Bearer hop_…`, or the word Token; the store has only a digest of it."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        parts = get_authorization_header(request).split()
        if not parts or parts[0].lower() not in _WORDS:
            return None
        if len(parts) != 2:
            raise AuthenticationFailed("The credentials are not one token.")
        try:
            found: tuple[Any, Any] = self.authenticate_credentials(parts[1])
        except UnicodeDecodeError:
            raise AuthenticationFailed("The token is no text.") from None
        return found

    def validate_user(self, auth_token: Any) -> tuple[Any, Any]:
        """Return the account of a token. Raises AuthenticationFailed where it has run out."""
        if auth_token.expiry is not None and auth_token.expiry < timezone.now():
            raise AuthenticationFailed("This token has expired.")
        found: tuple[Any, Any] = super().validate_user(auth_token)
        return found

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE

    def _cleanup_token(self, auth_token: Any) -> bool:
        # An expired token stays listed until somebody revokes it.
        return False


@dataclass(frozen=True)
class Lease:
    """The lease of one task as a credential: the id of its attempt, its worker and its token."""

    attempt: int
    worker: str
    token: str


class LeaseAuthentication(BaseAuthentication):
    """`Authorization: Lease TOKEN`: the token of a lease, for reports on its own task alone (R21).

    The view finds the lease (`HopperViewSet.lease`). One that is over is found too: the action
    itself tells its worker so.
    """

    def authenticate(self, request: Request) -> tuple[Operator, Lease] | None:
        parts = get_authorization_header(request).split()
        if not parts or parts[0].lower() != b"lease":
            return None
        token = b" ".join(parts[1:]).decode("latin-1")
        try:
            lease = request.parser_context["view"].lease(token)
        except NotAllowed:
            if settings.HOPPER_AUTH == "off":
                return None  # Anybody may do the rest, also with a lease in the header.
            raise
        if lease is None:
            raise AuthenticationFailed("The task has no lease with this token.")
        return Operator(lease.worker), lease

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


class OpenAuthentication(BaseAuthentication):
    """Anybody, as admin: only under HOPPER_AUTH=off, for a laptop.

    A page of another site in the user's browser is not anybody: such a page cannot send the JSON
    type, and the browser names its origin.
    """

    def authenticate(self, request: Request) -> tuple[Operator, None]:
        """Return the operator. Raises PermissionDenied for a page of another site."""
        if request.method not in SAFE_METHODS:
            _refuse_other_sites(request)
        return Operator("anybody"), None


def _refuse_other_sites(request: Request) -> None:
    """Raise PermissionDenied, or UnsupportedMediaType for a POST that does not say it is JSON."""
    headers = request.headers
    origin = headers.get("Origin")
    foreign = headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")
    if foreign or (origin is not None and urlsplit(origin).netloc != request.get_host()):
        raise PermissionDenied("Another site may not change anything here (HOPPER_AUTH=off).")
    media_type = (request.content_type or "").partition(";")[0].strip().lower()
    if request.method != "DELETE" and media_type != "application/json":
        raise UnsupportedMediaType(media_type or "none given")


def caller_of(request: Request) -> str:
    """Return a name that no two credentials share: whose idempotency keys these are (R20)."""
    if isinstance(request.auth, Lease):
        return f"lease:{request.auth.attempt}"
    if isinstance(request.user, Operator):
        return f"operator:{request.user.username}"[:150]
    if isinstance(request.auth, get_token_model()):
        return f"token:{request.auth.pk}"[:150]
    return f"user:{request.user.pk}"
