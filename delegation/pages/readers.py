"""The readers of open pages: their rights, read again every few seconds for all of them at once."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

from django.contrib.auth import HASH_SESSION_KEY, get_user_model
from django.contrib.sessions.models import Session
from django.http import HttpRequest
from django.utils import timezone

from hopper.actors import Actor
from hopper.rest.auth import account_id
from instances.rights import grants_of_all

CHECK_SECONDS = 5.0
"""The time between two readings of the rights of all readers."""


@dataclass(frozen=True)
class Reader:
    """A session of an account. `seal` is what the session keeps of the account's password."""

    session: str
    account: Any
    seal: str

    @classmethod
    def of(cls, request: HttpRequest) -> Reader | None:
        """Return the reader behind a request, None for a caller without an account."""
        session = getattr(request, "session", None)
        key = session.session_key if session is not None else None
        if key is None or not request.user.pk:
            return None
        return cls(key, request.user.pk, request.session.get(HASH_SESSION_KEY, ""))


class Readers:
    """The readers of this process. Three queries read the rights of all, however many they are."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._asked: dict[Reader, float] = {}
        self._found: dict[Reader, Actor] = {}
        self._read_at = 0.0

    def actor(self, reader: Reader) -> Actor | None:
        """Return a reader with its grants of the last seconds, None for a stranger by now."""
        with self._lock:
            now = time.monotonic()
            known = reader in self._asked
            self._asked[reader] = now
            if not known or now - self._read_at >= CHECK_SECONDS:
                latest = now - 3 * CHECK_SECONDS
                self._asked = {one: at for one, at in self._asked.items() if at >= latest}
                self._found = _actors(self._asked)
                self._read_at = now
            return self._found.get(reader)


def _actors(readers: Collection[Reader]) -> dict[Reader, Actor]:
    keys = {one.session for one in readers}
    live = Session.objects.filter(session_key__in=keys, expire_date__gt=timezone.now())
    sessions = set(live.values_list("session_key", flat=True))
    accounts = {one.account for one in readers if one.session in sessions}
    users = get_user_model().objects.filter(pk__in=accounts, is_active=True).in_bulk()
    grants = grants_of_all(users.values())
    return {
        one: _actor(users[one.account], grants[one.account])
        for one in readers
        if one.session in sessions
        and one.account in users
        and one.seal == users[one.account].get_session_auth_hash()
    }


def _actor(account: Any, grants: Mapping[str, str]) -> Actor:
    return Actor(account.get_username(), grants, account_id(account))


READERS = Readers()
"""The readers of this process."""
