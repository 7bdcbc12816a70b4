"""The messages of a webhook, in the form and with the signatures of Standard Webhooks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from standardwebhooks import Webhook as Signer

from hopper.site_key import webhook_secrets
from instances.models import Webhook

OLD_SECRET_SIGNS = timedelta(hours=24)
"""For so long after a rotation the former secret signs as well."""

TEST = "webhook.test"


@dataclass(frozen=True)
class Message:
    """One message: the position of its event (null for a test), its id, kind and JSON."""

    position: int | None
    id: str
    kind: str
    body: str


def message_of(position: int, pk: int, event: dict[str, Any]) -> Message:
    """Return the message about an event, given its JSON of the REST interface.

    A repeated delivery has the same id.
    """
    body = {"type": event["kind"], "timestamp": event["at"], "data": event}
    return Message(position, f"event-{pk}", event["kind"], json.dumps(body, default=str))


def test_message(webhook: Webhook, now: datetime) -> Message:
    """Return a message without an event, by which a person tries a receiver."""
    data = {"webhook_id": webhook.pk, "instance_id": webhook.instance_id}
    body = {"type": TEST, "timestamp": now.isoformat(), "data": data}
    return Message(None, f"test-{webhook.pk}-{now.timestamp():.0f}", TEST, json.dumps(body))


def signed_headers(message: Message, secrets: list[str], now: datetime) -> dict[str, str]:
    """Return the three headers of the standard, with a signature by each secret."""
    signatures = [Signer(secret).sign(message.id, now, message.body) for secret in secrets]
    return {
        "webhook-id": message.id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def secrets_of(webhook: Webhook, now: datetime) -> list[str]:
    """Return the secrets that sign now: the present one, and for a day the one before it.

    After a change of the site's key the secrets under the older keys sign too.
    """
    numbers = [webhook.secret_number]
    if webhook.rotated_at and now - webhook.rotated_at < OLD_SECRET_SIGNS:
        numbers.append(webhook.secret_number - 1)
    return [secret for number in numbers for secret in webhook_secrets(webhook.pk, number)]
