"""Events reach people by mail and chat; an address reaches no server that nobody allowed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from hopper.errors import Invalid
from hopper.masks import masked
from instances.api.shown import shown_events
from instances.models import HopperInstance, Webhook
from instances.tasks.worker import claim_next, fail_task
from instances.webhooks.courier import Courier
from instances.webhooks.notices import shown_address
from instances.webhooks.subscriptions import (
    add_webhook,
    change_webhook,
    replay,
    request_test as ask_for_a_test,
)
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.receiver import Receiver, receiver

pytestmark = pytest.mark.django_db(transaction=True)

SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"


@pytest.fixture
def ear(settings: Any) -> Iterator[Receiver]:
    """A server of ntfy on this machine, which the operator names."""
    settings.HOPPER_NOTIFY_HOSTS = {"127.0.0.1"}
    with receiver() as found:
        found.status = 200
        yield found


@pytest.fixture
def run(db: None) -> HopperInstance:
    project = InstanceFactory(name="web", scope="PROJECT", parent=InstanceFactory(name="top"))
    return InstanceFactory(name="run", scope="ORCHESTRATION", parent=project)


def ntfy(ear: Receiver) -> str:
    return f"ntfy://ada:secret@127.0.0.1:{ear.port}/now"


def deliver() -> int:
    """Let every webhook have its turn; return how many messages were taken."""
    return Courier(shown_events).once()


def fail(run: HopperInstance) -> None:
    TaskFactory(instance=run, title="Mend the pump")
    (lease,) = claim_next("run", worker="w", actor=ALICE).leases
    fail_task(lease.task.pk, token=lease.token, error="no pump", retryable=False, actor=ALICE)


def test_an_event_is_told_in_words_and_logged(ear: Receiver, run: HopperInstance) -> None:
    hook = add_webhook("run", ntfy(ear), kinds=["task.failed"], actor=ALICE)
    fail(run)
    assert deliver() == 1
    (one,) = ear.got
    assert "task.failed: Mend the pump" in one.body
    assert "the task failed for good" in one.body
    assert "no pump" in one.body
    (row,) = hook.deliveries.all()
    assert (row.kind, row.reason) == ("task.failed", "")


def test_a_notice_that_fails_is_tried_again_and_replayed(
    ear: Receiver, run: HopperInstance
) -> None:
    hook = add_webhook("run", ntfy(ear), kinds=["task.failed"], actor=ALICE)
    ear.status = 503
    fail(run)
    assert deliver() == 0
    hook.refresh_from_db()
    assert hook.failures == 1
    assert hook.next_at
    row = hook.deliveries.get()
    assert "503" in row.reason
    assert "secret" not in row.reason
    ear.status = 200
    assert deliver() == 0, "the pause goes on"
    replay(hook.pk, None, actor=ALICE)
    assert deliver() == 1


def test_no_word_of_a_task_calls_everybody(ear: Receiver, run: HopperInstance) -> None:
    add_webhook("run", ntfy(ear), kinds=["task.created"], actor=ALICE)
    TaskFactory(instance=run, title="Ask @everyone and <!channel>, or ada@example.org")
    assert deliver() == 1
    body = json.loads(ear.got[0].body)
    assert "@everyone" not in body["title"]
    assert "<!" not in body["title"]
    assert "everyone and" in body["title"]
    assert "ada@example.org" in body["title"]


def test_a_test_message_arrives(ear: Receiver, run: HopperInstance) -> None:
    hook = add_webhook("run", ntfy(ear), actor=ALICE)
    ask_for_a_test(hook.pk)
    assert deliver() == 1
    assert hook.pk in ear.got[0].body


REFUSED = (
    ("json://127.0.0.1/", "https://example.org"),
    ("xml://example.org/", "https://example.org"),
    ("file:///etc/passwd", "https://example.org"),
    ("dbus://", "https://example.org"),
    ("syslog://", "https://example.org"),
    ("ntfy://10.0.0.1/topic", "HOPPER_NOTIFY_HOSTS"),
    ("ntfys://ntfy.example.org/topic", "HOPPER_NOTIFY_HOSTS"),
    ("mailto://ada:secret@example.org?smtp=169.254.169.254", "HOPPER_NOTIFY_HOSTS"),
    ("mailtos://ada:secret@gmail.com", "smtp.gmail.com"),
    (f"{SLACK}?template=/etc/passwd", "'template'"),
    (f"{SLACK}/#general/?template=/etc/passwd", "'template'"),
    (f"{SLACK}?to=a;Template=/etc/passwd", "'template'"),
    ("ntfys://topic?redirect=yes", "'redirect'"),
    ("ntfys://topic?verify=no", "'verify'"),
    ("slack://short", "no address of slack"),
    ("discord://", "no address of discord"),
)
"""Addresses, and a word of each refusal."""


def test_an_address_that_could_reach_more_is_refused(run: HopperInstance) -> None:
    for url, words in REFUSED:
        with pytest.raises(Invalid, match="url: ") as refused:
            add_webhook("run", url, actor=ALICE)
        assert words in str(refused.value), url
        assert "secret" not in str(refused.value)
    assert not Webhook.objects.exists()


def test_the_secrets_of_an_address_are_shown_nowhere(run: HopperInstance, settings: Any) -> None:
    settings.HOPPER_NOTIFY_HOSTS = {"mail.example.org"}
    mail = "mailtos://ada:secret@example.org?smtp=mail.example.org&to=ops@example.org"
    for url in (SLACK, "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", "ntfys://topic", mail):
        hook = add_webhook("run", url, actor=ALICE)
        scheme = url.partition("://")[0]
        assert shown_address(url) == f"{scheme}://***"
        assert masked(f"sent to {url} today") == f"sent to {scheme}://*** today"
        change_webhook(hook.pk, {"url": f"{scheme}://***", "description": "x"}, actor=ALICE)
        hook.refresh_from_db()
        assert (hook.url, hook.description) == (url, "x")


def test_a_server_without_the_extra_says_what_to_install(
    run: HopperInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = add_webhook("run", SLACK, kinds=["task.failed"], actor=ALICE)
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(Invalid, match=r"pip install 'hopper-queue\[notify\]'"):
        add_webhook("run", SLACK, actor=ALICE)
    fail(run)
    assert deliver() == 0
    assert "hopper-queue[notify]" in hook.deliveries.get().reason
