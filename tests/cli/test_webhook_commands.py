"""`hopper webhook` shows a secret once, how each webhook stands, and why deliveries failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.cli.fakes import FakeTransport, ok, page

HOOK: dict[str, Any] = {
    "id": "webhook-1", "instance_id": "web", "url": "https://example.org/", "kinds": [],
    "enabled": True, "off_reason": "", "failing_since": None, "position": 7,
}  # fmt: skip


def test_a_webhook_is_added_and_its_secret_shown(hopper: Callable, server: FakeTransport) -> None:
    server.answers["POST /webhooks"] = ok({**HOOK, "secret": "whsec_abc"}, 201)
    out = hopper(
        *("webhook", "add", "https://example.org/", "--instance", "web"),
        *("--kind", "task.done", "--kind", "task.failed"),
    ).out
    assert "webhook-1" in out
    assert "whsec_abc" in out
    assert server.sent("POST", "/webhooks") == [
        {
            "url": "https://example.org/",
            "instance_id": "web",
            "kinds": ["task.done", "task.failed"],
        }
    ]


def test_the_list_shows_the_state_of_each_webhook(hopper: Callable, server: FakeTransport) -> None:
    off = {**HOOK, "id": "webhook-2", "enabled": False, "off_reason": "failed for a day"}
    ill = {**HOOK, "id": "webhook-3", "failing_since": "2026-12-01T08:00:00Z"}
    server.answers["GET /webhooks"] = page(HOOK, off, ill, {**off, "off_reason": ""})
    rows = hopper("webhook", "list").out.splitlines()[1:]
    assert "web       on " in rows[0]
    assert "off: failed for a day" in rows[1]
    assert "failing since 2026-12-01T08:00:00Z" in rows[2]


def test_the_delivery_log_shows_the_outcome_of_each_message(
    hopper: Callable, server: FakeTransport
) -> None:
    sent = {"id": 2, "at": "t", "position": 7, "kind": "task.done", "seconds": 0.1, "status": 204}
    failed = {**sent, "id": 1, "status": None, "reason": "no answer within 10 s"}
    server.answers["GET /webhooks/webhook-1/deliveries"] = page({**sent, "reason": ""}, failed)
    out = hopper("webhook", "log", "webhook-1").out
    assert "delivered (204)" in out
    assert "no answer within 10 s" in out


def test_a_replay_begins_after_the_given_event(hopper: Callable, server: FakeTransport) -> None:
    server.answers["POST /webhooks/webhook-1/replay"] = ok(HOOK)
    out = hopper("webhook", "replay", "webhook-1", "--after", "7").out
    assert out == "✓ Webhook: webhook-1 is on, after 7\n"
    hopper("webhook", "replay", "webhook-1")
    assert server.sent("POST", "/webhooks/webhook-1/replay") == [{"after": 7}, {}]


def test_only_given_fields_are_changed(hopper: Callable, server: FakeTransport) -> None:
    server.answers["PATCH /webhooks/webhook-1"] = ok({**HOOK, "enabled": False})
    assert " is off" in hopper("webhook", "update", "webhook-1", "--off").out
    assert server.sent("PATCH", "/webhooks/webhook-1") == [{"enabled": False}]
    assert hopper("webhook", "update", "webhook-1").code == 2


def test_the_other_verbs_report_their_effect(hopper: Callable, server: FakeTransport) -> None:
    server.answers |= {
        "POST /webhooks/webhook-1/test": ok(HOOK),
        "POST /webhooks/webhook-1/rotate": ok({**HOOK, "secret": "whsec_new"}),
        "DELETE /webhooks/webhook-1": ok(None, 204),
        "GET /webhooks/webhook-1": ok(HOOK),
    }
    assert "hopper webhook log webhook-1" in hopper("webhook", "test", "webhook-1").out
    assert "whsec_new" in hopper("webhook", "rotate", "webhook-1").out
    assert "Removed webhook" in hopper("webhook", "remove", "webhook-1", "--yes").out
    assert "https://example.org/" in hopper("webhook", "show", "webhook-1").out
