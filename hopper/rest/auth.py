"""Authentication: the local operator, a token, a session, or no credentials (HOPPER_AUTH=off)."""

from __future__ import annotations

from dataclasses import dataclass
from hmac import compare_digest
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.utils import timezone
from knox.auth import TokenAuthentication
from knox.crypto import hash_token
from knox.models import get_token_model
from knox.settings import CONSTANTS
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import (
    AuthenticationFailed,
    PermissionDenied,
    UnsupportedMediaType,
)
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from hopper.actors import operator_id
from hopper.database.rows import columns, read
from hopper.errors import NotAllowed
from hopper.rest.limits import wrong_credential

OPERATOR_KEY = "hopper.local_operator"
CHALLENGE = 'Bearer realm="hopper"'
BY_LEASE = frozenset({"ask", "heartbeat", "complete", "fail", "release"})
"""Actions that a lease's token alone may do, on its own task (R21)."""
_WORDS = (b"bearer", b"token")


class Operator(AnonymousUser):
    """A caller without an account: the local operator, or any caller under HOPPER_AUTH=off."""

    # Django's stubs know each of these as a constant of anonymous callers.
    is_active = True  # type: ignore[assignment]

    def __init__(self, name: str) -> None:
        super().__init__()
        self.username = name  # type: ignore[assignment]

    @property
    def is_authenticated(self) -> bool:  # type: ignore[override]
        """Return true: the transport, or HOPPER_AUTH=off, stands for a credential."""
        return True

    @property
    def is_anonymous(self) -> bool:  # type: ignore[override]
        """Return false."""
        return False


class LocalOperatorAuthentication(BaseAuthentication):
    """Authenticates an in-process call by an environ key that no HTTP header can produce."""

    def authenticate(self, request: Request) -> tuple[Operator, None] | None:
        name = request._request.META.get(OPERATOR_KEY)
        return (Operator(str(name)), None) if name else None

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge. DRF asks the first authenticator for the header of a 401."""
        return CHALLENGE


class BearerAuthentication(TokenAuthentication):
    """`Authorization: Bearer hop_…` (or `Token hop_…`). The database keeps only a digest."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        parts = get_authorization_header(request).split()
        if not parts or parts[0].lower() not in _WORDS:
            return None
        try:
            return self._account(parts[1:])
        except AuthenticationFailed as error:
            raise wrong_credential(request, error) from error

    def _account(self, words: list[bytes]) -> tuple[Any, Any]:
        """Return the account and the token. Raises AuthenticationFailed."""
        if len(words) != 1:
            raise AuthenticationFailed("The credentials are not one token.")
        try:
            return self.authenticate_credentials(words[0])
        except UnicodeDecodeError:
            raise AuthenticationFailed("The token is no text.") from None

    def authenticate_credentials(self, token: bytes) -> tuple[Any, Any]:
        """Return the account and the token. Raises AuthenticationFailed.

        By a plain statement: each request asks, and the ORM takes longer.
        """
        text = token.decode()
        for found, account in _tokens_like(text):
            if compare_digest(hash_token(text), found.digest):
                found.user = account
                return self.validate_user(found)
        raise AuthenticationFailed("Invalid token.")

    def validate_user(self, auth_token: Any) -> tuple[Any, Any]:
        """Return the account of a token. Raises AuthenticationFailed for an expired token."""
        if auth_token.expiry is not None and auth_token.expiry < timezone.now():
            raise AuthenticationFailed("This token has expired.")
        found: tuple[Any, Any] = super().validate_user(auth_token)
        return found

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


def _tokens_like(text: str) -> list[tuple[Any, Any]]:
    """Return the tokens that begin as `text` does, each with its account."""
    model, accounts = get_token_model(), get_user_model()
    tables = f"{model._meta.db_table} token JOIN {accounts._meta.db_table} account"
    statement = f"""SELECT {columns(model, "token")}, {columns(accounts, "account")}
        FROM {tables} ON account.{accounts._meta.pk.column} = token.user_id
        WHERE token.token_key = %s"""  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(statement, [text[: CONSTANTS.TOKEN_KEY_LENGTH]])
        rows = read(model, cursor.fetchall())
    return [(token, read(accounts, [values])[0][0]) for token, values in rows]


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
            error = AuthenticationFailed("The task has no lease with this token.")
            raise wrong_credential(request, error)
        return Operator(lease.worker), lease

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


class OpenAuthentication(BaseAuthentication):
    """Makes every caller an admin. Used only under HOPPER_AUTH=off, for a laptop.

    A page of another site in the user's browser is refused: the page cannot send the JSON type,
    and the browser names the origin of the page.
    """

    def authenticate(self, request: Request) -> tuple[Operator, None]:
        """Return the operator. Raises PermissionDenied for a page of another site."""
        if request.method not in SAFE_METHODS:
            _refuse_other_sites(request)
        return Operator("anybody"), None


def _refuse_other_sites(request: Request) -> None:
    """Raise PermissionDenied for another origin, UnsupportedMediaType for a POST without JSON."""
    headers = request.headers
    origin = headers.get("Origin")
    foreign = headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")
    if foreign or (origin is not None and urlsplit(origin).netloc != request.get_host()):
        raise PermissionDenied("Another site may not change anything here (HOPPER_AUTH=off).")
    media_type = (request.content_type or "").partition(";")[0].strip().lower()
    if request.method != "DELETE" and media_type != "application/json":
        raise UnsupportedMediaType(media_type or "none given")


def caller_of(request: Request) -> str:
    """Return the id of the actor that the credential of a request stands for.

    The idempotency keys of a caller belong to this id (R20).
    """
    if isinstance(request.auth, Lease):
        return f"lease:{request.auth.attempt}"
    if isinstance(request.user, Operator):
        return operator_id(str(request.user.username))
    if isinstance(request.auth, get_token_model()):
        return str(request.auth.actor_id)
    return account_id(request.user)


def account_id(user: Any) -> str:
    """Return the id of an account as an actor."""
    return f"user:{user.pk}"
