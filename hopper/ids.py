"""Ids: readable, time-ordered, made here and nowhere else."""

from __future__ import annotations

import re
import secrets
import threading
import time
import unicodedata

SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


_RANDOM_BITS = 48
_last = 0
_one_at_a_time = threading.Lock()


def new_id(kind: str) -> str:
    """Return a new id such as `task-0192f3c8a1b24f5e6d7c8b9a`: 12 hex of milliseconds, 12 random.

    The ids of one process strictly ascend, also within a millisecond and when the clock steps back.
    The ids of several processes ascend only roughly: an order that matters has its own column.
    An id is a name, not a secret.
    """
    global _last
    with _one_at_a_time:
        earliest = time.time_ns() // 1_000_000 << _RANDOM_BITS
        if earliest > _last:
            _last = earliest | secrets.randbits(_RANDOM_BITS)
        else:
            # A random step: two processes that began as one do not make the same id.
            _last += 1 + secrets.randbits(_RANDOM_BITS - 12)
        return f"{kind}-{_last:024x}"


def slug_of(name: str) -> str:
    """Return `name` as a slug of at most 90 characters, or "" when nothing is left of it."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9._]+", "-", plain).strip("-._")[:90].rstrip("-._")


def is_slug(text: str) -> bool:
    """Return whether `text` can be the id of an instance."""
    return SLUG.fullmatch(text) is not None
