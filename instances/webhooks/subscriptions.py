"""Adding, changing, replaying and removing webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from django.db import transaction
from django.db.models import F

from hopper import database
from hopper.actors import Actor
from hopper.errors import Conflict, Invalid
from hopper.ids import new_id
from hopper.protocol import EVENTS
from instances.history import newest_position
from instances.models import Webhook
from instances.tree.status import lock_instance
from instances.webhooks.addresses import target_of
from instances.webhooks.notices import is_notice, require_notice, shown_address

MOST_PER_INSTANCE = 20
GROUPS = tuple(dict.fromkeys(f"{kind.partition('.')[0]}.*" for kind in EVENTS))
"""The words that stand for all kinds of events about one sort of object."""

_FRESH: dict[str, Any] = {
    "enabled": True,
    "off_reason": "",
    "failures": 0,
    "failing_since": None,
    "next_at": None,
    "taken_until": None,
}
"""The state of a webhook that has not failed and is not being sent."""


def add_webhook(
    instance_id: str, url: str, *, kinds: Sequence[str] = (), description: str = "", actor: Actor
) -> Webhook:
    """Subscribe a URL to the events at an instance and below, from now on; return the webhook.

    The URL is https, or the address of a notice by mail, Slack, Discord or ntfy.

    Raises Invalid for a URL or a kind that cannot be, NotFound, Conflict for too many webhooks.
    """
    _require_address(url)
    _require_kinds(kinds)
    newest = newest_position()
    with transaction.atomic():
        lock_instance(instance_id)  # Two requests at once do not exceed the limit.
        if Webhook.objects.filter(instance=instance_id).count() >= MOST_PER_INSTANCE:
            words = f"{instance_id} has {MOST_PER_INSTANCE} webhooks, the most: remove one first."
            raise Conflict(words, code="too_many_webhooks")
        return Webhook.objects.create(
            id=new_id("webhook"),
            instance_id=instance_id,
            url=url,
            kinds=list(kinds),
            description=description,
            owner=actor.name,
            owner_id=actor.id,
            created_at=database.now(),
            position=newest,
        )


def change_webhook(webhook_id: str, changes: dict[str, Any], *, actor: Actor) -> None:
    """Write url, kinds, description and enabled, those that are given. The actor owns it now.

    A webhook that is switched on again goes on after its last event. Raises Invalid.
    """
    if "url" in changes:
        # The address as it is shown, without its secrets, stands for the stored one.
        if changes["url"] in map(shown_address, _url_of(webhook_id)):
            del changes["url"]
        else:
            _require_address(changes["url"])
    _require_kinds(changes.get("kinds", ()))
    on = changes.get("enabled")
    state = _FRESH if on else {"off_reason": ""} if on is False else {}
    _write(webhook_id, actor, **{**state, **changes, "taken_until": None})


def replay(webhook_id: str, after: int | None, *, actor: Actor) -> None:
    """Switch a webhook on and send the events after a position again, or go on where it stopped.

    Raises Invalid for a position that the feed has not reached.
    """
    newest = newest_position()
    if after is not None and after > newest:
        raise Invalid.field("after", f"the newest event has the number {newest}")
    _write(webhook_id, actor, **_FRESH, **({} if after is None else {"position": after}))


def rotate(webhook_id: str, *, actor: Actor) -> None:
    """Give a webhook another secret. For 24 hours the old secret signs beside it."""
    _write(webhook_id, actor, secret_number=F("secret_number") + 1, rotated_at=database.now())


def request_test(webhook_id: str) -> None:
    """Ask the sweep for a test message, also of a webhook that is switched off."""
    Webhook.objects.filter(pk=webhook_id).update(test_due=True)


def remove_webhook(webhook_id: str) -> None:
    """Delete a webhook with its log."""
    Webhook.objects.filter(pk=webhook_id).delete()


def _write(webhook_id: str, actor: Actor, **changes: Any) -> None:
    """Write columns and the new owner. A sender that has the webhook now finds it changed."""
    owner = {"owner": actor.name, "owner_id": actor.id}
    Webhook.objects.filter(pk=webhook_id).update(**owner, **changes)


def _url_of(webhook_id: str) -> Any:
    return Webhook.objects.filter(pk=webhook_id).values_list("url", flat=True)


def _require_address(url: str) -> None:
    """Raise Invalid for an address to which no webhook and no notice may go."""
    if is_notice(url):
        require_notice(url)
    else:
        target_of(url)


def _require_kinds(kinds: Sequence[str]) -> None:
    """Raise Invalid for a word that is no kind of event and no group: it would match nothing."""
    known = (*GROUPS, *EVENTS)
    for place, kind in enumerate(kinds):
        if kind not in known:
            near = get_close_matches(kind.strip().lower(), known, n=2)
            meant = f"; did you mean {' or '.join(near)}?" if near else "."
            words = f"there is no event {kind!r}{meant} Known: {', '.join(known)}"
            raise Invalid.field(f"kinds.{place}", words)
