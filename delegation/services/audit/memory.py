"""What the checks found, kept for the dashboard and for the next check to begin from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from instances.models import CheckRecord

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from delegation.services.audit import Finding

KEPT = 100
"""Records that are kept, besides the last that was sound."""


def last_sound() -> datetime | None:
    """Return when the latest check began that found everything sound, or None."""
    record = CheckRecord.latest(broken=[])
    return record.began_at if record else None


def remember(
    findings: Iterable[Finding], *, began_at: datetime, seconds: float, since: datetime | None
) -> bool:
    """Keep the result of a check of all invariants; return whether it speaks of the whole.

    One that began later than everything was last known to be sound speaks of a part only.
    """
    sound = last_sound()
    if since is not None and (sound is None or since > sound):
        return False
    broken = {found.invariant for found in findings}
    record = CheckRecord.objects.create(
        began_at=began_at,
        seconds=seconds,
        since=since,
        broken=sorted(broken, key=lambda number: int(number[1:])),
    )
    old = CheckRecord.objects.filter(pk__lte=record.pk - KEPT)
    if base := CheckRecord.latest(broken=[]):
        old = old.exclude(pk=base.pk)
    old.delete()
    return True
