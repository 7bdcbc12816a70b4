"""Requests and failures by the minute, counted by all servers of a database together."""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import mmap
import struct
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.signals import user_login_failed
from django.db import DatabaseError
from django.dispatch import receiver
from django.http import HttpRequest
from rest_framework.exceptions import APIException, AuthenticationFailed, Throttled

MINUTE = 60
logger = logging.getLogger(__name__)
Store = Callable[[str, int, int], int]
"""Adds a number to the count of a key in a minute, for all servers, and returns the count."""

_SLOT = struct.Struct("=QIIII")  # the key's digest, the minute, and the three parts of its count
_OTHERS = struct.Struct("=I")
_OTHERS_AT = _SLOT.size - _OTHERS.size
_SLOTS = 1 << 16
_STEPS = 100


class Counters:
    """Counts by key and minute in memory that a process shares with the processes it forks.

    The store joins the counts of all servers. A server adds its own count in steps of a hundredth
    of the limit, so that most requests write nothing. Without the database a server counts alone.

    A write takes no lock, because a killed process would keep it: of counts at the same moment
    one may get lost. Of two keys with the same slot the later one starts anew.
    """

    def __init__(self, store: Store | None = None) -> None:
        self._memory = mmap.mmap(-1, _SLOT.size * _SLOTS)
        self.store = store

    def add(self, key: str, most: int) -> int:
        """Add one to the count of this minute and return it. `most` is the limit of the key."""
        place, digest, minute = _place(key)
        own, stored, others = self._parts(place, digest, minute)
        own += 1
        due = own - stored >= max(1, most // _STEPS) and stored + others <= most
        # This process marks its count as stored first. So no other process stores the count again.
        _SLOT.pack_into(self._memory, place, digest, minute, own, own if due else stored, others)
        if due and self.store:
            others = _joined(self.store, key, minute, own, own - stored, others)
            _OTHERS.pack_into(self._memory, place + _OTHERS_AT, others)
        return own + others

    def read(self, key: str) -> int:
        """Return the count of this minute, as far as this server knows it."""
        own, _, others = self._parts(*_place(key))
        return own + others

    def _parts(self, place: int, digest: int, minute: int) -> tuple[int, int, int]:
        """Return this server's count, the part of it that is stored, and the others' count."""
        known, at, *parts = _SLOT.unpack_from(self._memory, place)
        own, stored, others = parts if (known, at) == (digest, minute) else (0, 0, 0)
        return own, stored, others


def _joined(store: Store, key: str, minute: int, own: int, new: int, others: int) -> int:
    """Store `new` counts of this server, and return the count of the other servers."""
    try:
        return max(0, store(key, minute, new) - own)
    except DatabaseError:
        logger.warning("counted by this server alone: %s", key, exc_info=True)
        return others


def _place(key: str) -> tuple[int, int, int]:
    """Return the place of a key in memory, its digest and the present minute."""
    digest = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest())
    return digest % _SLOTS * _SLOT.size, digest, present_minute()


def present_minute() -> int:
    """Return the number of whole minutes since 1970."""
    return int(time.time()) // MINUTE


COUNTERS = Counters()
"""`hopper serve` makes them before it forks its workers. A room with tables gives the store."""


def count(key: str, most: int) -> int:
    """Add one to the count of a key in this minute and return it. `most` is its limit."""
    return COUNTERS.add(key, most)


def rest_of_minute() -> int:
    """Return the seconds until the counts start anew."""
    return MINUTE - int(time.time()) % MINUTE


def wrong_credential(request: Any, error: AuthenticationFailed) -> APIException:
    """Count a failure of the caller's address; return the error, or Throttled for too many.

    A valid credential from the same address is taken as before: it counts no failure.
    """
    most = settings.HOPPER_FAILURES_PER_MINUTE
    if count(_failures(request), most) <= most:
        return error
    return Throttled(rest_of_minute(), "Too many wrong credentials came from this address.")


def may_sign_in(request: HttpRequest) -> bool:
    """Return whether the address of the request has failures left in this minute."""
    most: int = settings.HOPPER_FAILURES_PER_MINUTE
    return COUNTERS.read(_failures(request)) < most


@receiver(user_login_failed)
def _count_login(request: HttpRequest | None = None, **_: Any) -> None:
    if request is not None:
        count(_failures(request), settings.HOPPER_FAILURES_PER_MINUTE)


def _failures(request: Any) -> str:
    """Return the key of an address. An IPv6 network of 64 bits counts as one address."""
    given = request.META.get("REMOTE_ADDR", "")
    try:
        address = ipaddress.ip_address(given)
    except ValueError:
        return f"failures:{given}"
    bits = 32 if address.version == 4 else 64
    return f"failures:{ipaddress.ip_network((address, bits), strict=False)}"
