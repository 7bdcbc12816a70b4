"""The agreement of all servers of a database on one site key.

A token that one server derives must be valid at the others (R21). On SQLite all processes read the
key that lies beside the database, and nothing is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error
from django.db import DatabaseError

from hopper.database import engine
from hopper.site_key import fingerprint, known_fingerprints
from instances.models import SiteKey

_ROW = 1


def check_key(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Check that this server knows the key that the other servers of the database use."""
    if not databases or engine().on_this_machine:
        return []
    try:
        stored = _stored()
    except DatabaseError:
        return []  # The database does not answer, or has no tables yet.
    if stored is None or stored in known_fingerprints():
        return []
    return [
        Error(
            "The other servers of this database use another HOPPER_SECRET_KEY.",
            hint="Give this server their key. Where that key is lost, run `hopper migrate "
            "--new-key`: the tokens of live leases become worthless.",
            id="hopper.E020",
        )
    ]


def store_key(**kwargs: Any) -> None:
    """Store the fingerprint of the key at `migrate`: the first one, or the successor of a known."""
    if not engine().on_this_machine:
        stored = _stored()
        if stored is None or stored in known_fingerprints() - {fingerprint()}:
            replace_key()


def replace_key() -> None:
    """Make the key of this machine the key of the site."""
    SiteKey.objects.update_or_create(pk=_ROW, defaults={"fingerprint": fingerprint()})


def _stored() -> str | None:
    return SiteKey.objects.filter(pk=_ROW).values_list("fingerprint", flat=True).first()
