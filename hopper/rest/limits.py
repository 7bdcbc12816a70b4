"""Counts by the minute, and the limit of failures to sign in from one address."""

from __future__ import annotations

import hashlib
import ipaddress
import mmap
import struct
import time
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth.signals import user_login_failed
from django.dispatch import receiver
from rest_framework.exceptions import APIException, AuthenticationFailed, Throttled

if TYPE_CHECKING:
    from django.http import HttpRequest

MINUTE = 60
_SLOT = struct.Struct("=QII")  # the key's digest, the minute, the count
_SLOTS = 1 << 16


class Counters:
    """Counts by key and minute in memory that a process shares with the processes it forks.

    A write takes no lock, because a killed process would keep it: of counts at the same moment
    one may get lost. Of two keys with the same slot the later one starts anew.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SLOT.size * _SLOTS)

    def add(self, key: str, number: int = 1) -> int:
        """Add to the count of this minute and return it. 0 only reads."""
        digest = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest())
        place = digest % _SLOTS * _SLOT.size
        minute = int(time.time()) // MINUTE
        known, at, count = _SLOT.unpack_from(self._memory, place)
        if (known, at) != (digest, minute):
            count = 0
        if number:
            count += number
            _SLOT.pack_into(self._memory, place, digest, minute, count)
        return int(count)


COUNTERS = Counters()
"""`hopper serve` makes them before it forks its workers: all of them count together."""


def count(key: str, number: int = 1) -> int:
    """Add to the count of a key in this minute and return it."""
    return COUNTERS.add(key, number)


def rest_of_minute() -> int:
    """Return the seconds until the counts start anew."""
    return MINUTE - int(time.time()) % MINUTE


def wrong_credential(request: Any, error: AuthenticationFailed) -> APIException:
    """Count a failure of the caller's address; return the error, or Throttled for too many.

    A valid credential from the same address is taken as before: it counts no failure.
    """
    if count(_failures(request)) <= settings.HOPPER_FAILURES_PER_MINUTE:
        return error
    return Throttled(rest_of_minute(), "Too many wrong credentials came from this address.")


def may_sign_in(request: HttpRequest) -> bool:
    """Return whether the address of the request has failures left in this minute."""
    most: int = settings.HOPPER_FAILURES_PER_MINUTE
    return count(_failures(request), 0) < most


@receiver(user_login_failed)
def _count_login(request: HttpRequest | None = None, **_: Any) -> None:
    if request is not None:
        count(_failures(request))


def _failures(request: Any) -> str:
    """Return the key of an address. An IPv6 network of 64 bits counts as one address."""
    given = request.META.get("REMOTE_ADDR", "")
    try:
        address = ipaddress.ip_address(given)
    except ValueError:
        return f"failures:{given}"
    bits = 32 if address.version == 4 else 64
    return f"failures:{ipaddress.ip_network((address, bits), strict=False)}"
