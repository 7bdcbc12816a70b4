"""Ids: readable, time-ordered, made here and nowhere else."""

from __future__ import annotations

import re
import secrets
import time
import unicodedata

SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


def new_id(kind: str) -> str:
    """Return a new id such as `task-0192f3c8a1b24f5e6d7c8b9a`: 12 hex of milliseconds, 12 random.

    Time order keeps neighbours together in the index; the id is a name, not a secret.
    """
    milliseconds = time.time_ns() // 1_000_000
    return f"{kind}-{milliseconds:012x}{secrets.token_hex(6)}"


def slug_of(name: str) -> str:
    """Return `name` as a slug of at most 90 characters, or "" when nothing is left of it."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9._]+", "-", plain).strip("-._")[:90].rstrip("-._")


def is_slug(text: str) -> bool:
    """Return whether `text` can be the id of an instance."""
    return SLUG.fullmatch(text) is not None
