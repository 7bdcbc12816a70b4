"""Events reach a receiver once and in order; a receiver that fails delays nothing but itself."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_network
from threading import Event, Thread
from typing import Any

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.utils import timezone
from standardwebhooks import Webhook as Signer

from hopper.actors import Actor
from hopper.site_key import webhook_secret
from instances.api.shown import shown_events
from instances.attention import Attention
from instances.models import AgentToken, Delivery, Grant, HopperInstance, Task, Webhook
from instances.tasks.worker import claim_next, complete_task
from instances.webhooks import courier, sending
from instances.webhooks.courier import Courier
from instances.webhooks.subscriptions import (
    add_webhook,
    change_webhook,
    replay,
    request_test as ask_for_a_test,
    rotate,
)
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.receiver import Receiver, receiver

pytestmark = pytest.mark.django_db(transaction=True)

NO_SUCH_PORT = "http://127.0.0.1:9/"


@pytest.fixture
def ear(settings: Any) -> Iterator[Receiver]:
    """A receiver on this machine, which the operator allows."""
    settings.HOPPER_WEBHOOK_NETWORKS = [ip_network("127.0.0.0/8")]
    with receiver() as found:
        yield found


@pytest.fixture
def web(db: None) -> HopperInstance:
    """A project with a run below it, under the instance `top`."""
    top = InstanceFactory(name="top")
    project = InstanceFactory(name="web", scope="PROJECT", parent=top)
    InstanceFactory(name="run", scope="ORCHESTRATION", parent=project)
    return project


def deliver() -> int:
    """Let every webhook have its turn; return how many messages were taken."""
    return Courier(shown_events).once()


def work() -> Task:
    """Do one task at the run."""
    task = TaskFactory(instance=HopperInstance.objects.get(pk="run"))
    lease = claim_next("run", worker="w", actor=ALICE).leases[0]
    complete_task(task.pk, token=lease.token, result={"n": 1}, actor=ALICE)
    return task


def test_the_events_of_the_subtree_arrive_once_in_order_and_signed(
    ear: Receiver, web: HopperInstance
) -> None:
    hook = add_webhook("web", ear.url(), kinds=["task.*"], actor=ALICE)
    task = work()
    TaskFactory(instance=HopperInstance.objects.get(pk="top"))
    assert deliver() == len(ear.got)
    assert ear.types() == ["task.created", "task.claimed", "task.done"], "the end comes once"
    first = ear.got[0]
    verified = Signer(webhook_secret(hook.pk, 1)).verify(first.body, first.headers)
    assert verified["data"]["task_id"] == task.pk
    assert re.fullmatch(r"event-\d+", first.headers["webhook-id"])
    assert first.headers["host"] == f"127.0.0.1:{ear.port}"
    assert deliver() == 0
    log = Delivery.objects.order_by("pk")
    assert [(one.kind, one.status, one.reason) for one in log][-1] == ("task.done", 204, "")


def test_only_the_kinds_that_were_asked_for_are_sent(ear: Receiver, web: HopperInstance) -> None:
    add_webhook("web", ear.url(), kinds=["task.done", "instance.*"], actor=ALICE)
    work()
    InstanceFactory(name="run-2", scope="ORCHESTRATION", parent=web)
    deliver()
    assert ear.types()[0] == "task.done"
    assert {kind.split(".")[0] for kind in ear.types()[1:]} == {"instance"}


def test_the_end_of_a_task_reaches_the_webhook_of_its_origin(
    ear: Receiver, web: HopperInstance
) -> None:
    for place in ("top", "web", "run"):
        add_webhook(place, ear.url(), kinds=["task.done"], actor=ALICE)
    work()
    assert deliver() == 3


def test_a_failing_receiver_is_tried_again_later_in_order(
    ear: Receiver, web: HopperInstance
) -> None:
    hook = add_webhook("web", ear.url(), kinds=["task.*"], actor=ALICE)
    ear.status = 500
    work()
    assert deliver() == 0
    hook.refresh_from_db()
    assert (hook.failures, len(ear.got)) == (1, 1)
    assert deliver() == 0
    assert len(ear.got) == 1, "not before its time"
    ear.status = 200
    with time_machine.travel(timezone.now() + timedelta(seconds=10)):
        assert deliver() == 3
    assert ear.types() == ["task.created", "task.created", "task.claimed", "task.done"]
    ids = [one.headers["webhook-id"] for one in ear.got]
    assert ids[0] == ids[1], "the receiver can tell a repetition"
    hook.refresh_from_db()
    assert (hook.failures, hook.failing_since, hook.next_at) == (0, None, None)


def test_the_pauses_grow_and_after_a_day_a_person_is_called(
    ear: Receiver, web: HopperInstance
) -> None:
    hook = add_webhook("web", ear.url(), actor=ALICE)
    ear.status = 503
    work()
    began, now, pauses = timezone.now(), timezone.now(), []
    for _ in range(20):
        with time_machine.travel(now, tick=False):
            deliver()
        hook.refresh_from_db()
        if not hook.enabled:
            break
        pauses.append(round((hook.next_at - now).total_seconds()))
        now = hook.next_at + timedelta(seconds=1)
    assert now - began >= timedelta(hours=24)
    assert len(pauses) == 7
    assert pauses == sorted(pauses[:6]) + pauses[6:]
    assert "answered 503" in hook.off_reason
    (group,) = [
        group
        for group in Attention(Task.objects.none(), HopperInstance.objects.all()).groups(9)
        if group["instances"]
    ]
    assert group["who"] == "an admin of web"
    assert group["instances"][0]["code"] == "WebhookOff"
    replay(hook.pk, None, actor=ALICE)
    ear.status = 200
    deliver()
    hook.refresh_from_db()
    assert (hook.enabled, hook.off_reason) == (True, "")
    assert ear.types()[-1] == "task.done"


def test_a_receiver_that_is_gone_is_called_no_more(ear: Receiver, web: HopperInstance) -> None:
    hook = add_webhook("web", ear.url(), actor=ALICE)
    ear.status = 410
    work()
    deliver()
    hook.refresh_from_db()
    assert (hook.enabled, hook.off_reason) == (False, "the receiver answered 410: gone")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/hang", "no answer within 2 s"),
        ("/drip", "no answer within 2 s"),
        ("/flood", "no HTTP answer"),
        ("/redirect", "redirect 302 is not followed"),
    ],
)
def test_a_strange_receiver_is_bounded_logged_and_delays_nobody(
    ear: Receiver, web: HopperInstance, monkeypatch: pytest.MonkeyPatch, path: str, reason: str
) -> None:
    monkeypatch.setattr(sending, "SECONDS", 2)
    hook = add_webhook("web", ear.url(path), kinds=["task.done"], actor=ALICE)
    add_webhook("web", ear.url(), kinds=["task.done"], actor=ALICE)
    work()
    assert deliver() == 1
    assert ear.types("/private") == []
    assert hook.deliveries.get().reason.startswith(reason)


def test_a_receiver_that_is_not_there_is_logged(ear: Receiver, web: HopperInstance) -> None:
    hook = add_webhook("web", NO_SUCH_PORT, kinds=["task.done"], actor=ALICE)
    secure = add_webhook("web", ear.url().replace("http", "https"), actor=ALICE)
    work()
    assert deliver() == 0
    assert hook.deliveries.get().reason.startswith("no connection")
    assert secure.deliveries.get().reason.startswith("TLS")


def test_a_name_is_resolved_once_and_that_address_is_called(
    ear: Receiver, web: HopperInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def resolve(host: str, port: int, *args: Any, **options: Any) -> list[Any]:
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    url = f"http://rebinding.example:{ear.port}/"
    add_webhook("web", url, kinds=["task.done"], actor=ALICE)
    work()
    assert deliver() == 1
    assert asked == ["rebinding.example"]
    assert ear.got[0].headers["host"] == f"rebinding.example:{ear.port}"


def test_a_name_with_one_private_address_is_not_called(
    web: HopperInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [(socket.AF_INET, 1, 6, "", (one, 443)) for one in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: found)
    hook = add_webhook("web", "https://two.example/", kinds=["task.done"], actor=ALICE)
    work()
    assert deliver() == 0
    assert hook.deliveries.get().reason == "10.0.0.1 is not a public address"


def person(role: str) -> tuple[Actor, Grant]:
    user = get_user_model().objects.create_user("bob")
    grant = Grant.objects.create(user=user, role=role, instance_id="web")
    return Actor("bob", {"web": role}, f"user:{user.pk}"), grant


def test_the_webhook_of_a_revoked_person_stops(ear: Receiver, web: HopperInstance) -> None:
    bob, grant = person("admin")
    hook = add_webhook("web", ear.url(), kinds=["task.done"], actor=bob)
    work()
    assert deliver() == 1
    Grant.objects.filter(pk=grant.pk).update(role="operator")
    work()
    assert deliver() == 0
    hook.refresh_from_db()
    assert (hook.enabled, hook.off_reason) == (False, "bob is no longer an admin of web")
    change_webhook(hook.pk, {"enabled": True}, actor=ALICE)
    assert deliver() == 1, "another admin has taken it over"


def test_the_webhook_of_a_revoked_or_expired_token_stops(
    ear: Receiver, web: HopperInstance
) -> None:
    user = get_user_model().objects.create_user("robot")
    token, _ = AgentToken.objects.create(user, name="robot", role="admin", instance=web)
    actor = Actor("robot", {"web": "admin"}, token.actor_id)
    first, second = (
        add_webhook("web", ear.url(), kinds=["task.done"], actor=actor) for _ in range(2)
    )
    work()
    assert deliver() == 2
    AgentToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    work()
    assert deliver() == 0
    AgentToken.objects.all().delete()
    replay(first.pk, None, actor=actor)
    assert deliver() == 0
    for hook in (first, second):
        hook.refresh_from_db()
        assert not hook.enabled


def test_events_are_sent_again_from_any_position(ear: Receiver, web: HopperInstance) -> None:
    hook = add_webhook("web", ear.url(), kinds=["task.*"], actor=ALICE)
    before = hook.position
    work()
    deliver()
    replay(hook.pk, before, actor=ALICE)
    assert deliver() == 3
    half = len(ear.got) // 2
    assert [one.body for one in ear.got[:half]] == [one.body for one in ear.got[half:]]


def test_the_old_secret_signs_for_a_day_after_a_rotation(
    ear: Receiver, web: HopperInstance, settings: Any
) -> None:
    hook = add_webhook("web", ear.url(), kinds=["task.done"], actor=ALICE)
    rotate(hook.pk, actor=ALICE)
    work()
    deliver()
    for number in (1, 2):
        assert Signer(webhook_secret(hook.pk, number)).verify(ear.got[0].body, ear.got[0].headers)
    kept = webhook_secret(hook.pk, 2)
    old, settings.SECRET_KEY = settings.SECRET_KEY, "a new key of the site"
    settings.SECRET_KEY_FALLBACKS = [old]
    with time_machine.travel(timezone.now() + timedelta(hours=25)):
        work()
        deliver()
        last = ear.got[-1]
        assert Signer(kept).verify(last.body, last.headers), "the site's key may be replaced"
    assert len(last.headers["webhook-signature"].split()) == 2


def test_a_test_message_is_sent_and_lifts_the_pause(ear: Receiver, web: HopperInstance) -> None:
    hook = add_webhook("web", ear.url(), kinds=["task.done"], actor=ALICE)
    ear.status = 500
    work()
    deliver()
    ask_for_a_test(hook.pk)
    assert deliver() == 0
    assert hook.deliveries.latest("pk").reason == "answered 500"
    ear.status = 200
    ask_for_a_test(hook.pk)
    assert deliver() == 1
    assert deliver() == 1
    assert ear.types()[-2:] == ["webhook.test", "task.done"]


def test_the_log_is_bounded(
    ear: Receiver, web: HopperInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "KEPT_DELIVERIES", 4)
    hook = add_webhook("web", ear.url(), kinds=["task.*"], actor=ALICE)
    for _ in range(2):
        work()
        deliver()
    assert hook.deliveries.count() == 4


def test_a_change_during_a_turn_wins(ear: Receiver, web: HopperInstance) -> None:
    hook = add_webhook("web", ear.url("/hang"), kinds=["task.done"], actor=ALICE)
    work()
    turn = courier.begin(hook.pk, shown_events)
    assert turn is not None
    assert courier.begin(hook.pk, shown_events) is None, "another sender has it"
    change_webhook(hook.pk, {"url": ear.url()}, actor=ALICE)
    courier.finish(turn)
    assert deliver() == 1


def test_a_webhook_without_events_of_its_own_follows_the_feed(
    ear: Receiver, web: HopperInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "BATCH", 2)
    hook = add_webhook("run", ear.url(), kinds=["task.failed"], actor=ALICE)
    before = hook.position
    work()
    assert deliver() == 0
    hook.refresh_from_db()
    assert hook.position > before
    assert not hook.deliveries.exists()


def test_the_loop_sends_beside_a_receiver_that_hangs(
    ear: Receiver, web: HopperInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "SECONDS", 600)
    add_webhook("web", ear.url("/hang"), kinds=["task.done"], actor=ALICE)
    add_webhook("web", ear.url(), kinds=["task.done"], actor=ALICE)
    stop = Event()
    loop = Thread(target=Courier(shown_events).loop, args=[stop.is_set])
    loop.start()
    try:
        for _ in range(2):
            work()
            seen, deadline = len(ear.types()), time.monotonic() + 60
            while len(ear.types()) == seen and time.monotonic() < deadline:
                time.sleep(0.02)
    finally:
        stop.set()
        loop.join(60)
    assert ear.types() == ["task.done", "task.done"]
    assert ear.types("/hang") == ["task.done"]
    assert not Webhook.objects.exclude(taken_until=None).exists(), "the end gives them back"


def test_a_single_sweep_sends_what_is_due(
    ear: Receiver, web: HopperInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    add_webhook("web", ear.url(), kinds=["task.done"], actor=ALICE)
    work()
    call_command("hopper_sweep")
    assert "webhooks sent: 1" in capsys.readouterr().out
