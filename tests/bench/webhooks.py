"""Completions beside a webhook: a receiver that hangs, one that answers, and no webhook at all."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from ipaddress import ip_network
from statistics import median
from typing import TYPE_CHECKING

from tests.bench.claims import age, fill_by_copy, queues
from tests.bench.figures import SIZE, analyse, say
from tests.receiver import receiver

if TYPE_CHECKING:
    from tests.receiver import Receiver

MODES = {"hangs": "/hang", "answers": "/"}
NETWORK = "127.0.0.1/32"


def completions_beside_webhooks() -> None:
    """Compare the 99th percentile of a completion beside a webhook with one without, in windows.

    A sweep with its courier runs in a process of its own, as beside `hopper serve`.
    """
    age()
    (place,) = queues("webhook", 1)
    fill_by_copy([place], int(SIZE.rounds * 3 * SIZE.seconds * 400))
    analyse()
    command = [sys.executable, "manage.py", "hopper_sweep", "--loop", "--interval", "1"]
    sweep = subprocess.Popen(
        command, env={**os.environ, "HOPPER_WEBHOOK_NETWORKS": NETWORK}, stdout=subprocess.DEVNULL
    )
    try:
        with receiver() as ear:
            spans = _windows(place, ear)
    finally:
        sweep.terminate()
        sweep.wait(30)
    for mode in MODES:
        pairs = zip(spans[mode], spans["none"], strict=True)
        ratios = sorted(_p99(mine) / _p99(other) for mine, other in pairs)
        every = [span for window in spans[mode] for span in window]
        words = f"{ratios[0]:.2f} {median(ratios):.2f} {ratios[-1]:.2f}x"
        figure = f"{words}  (p99 {_p99(every):.1f} ms of {len(every)})"
        say(f"completion beside a receiver that {mode}, p99", figure, ratios=ratios)


def _windows(place: str, ear: Receiver) -> dict[str, list[list[float]]]:
    """Return the milliseconds of each completion, by mode and window; the modes take turns."""
    from django.test.utils import override_settings

    from instances.models import Webhook
    from instances.webhooks.subscriptions import add_webhook, replay
    from tests.factories import ALICE

    with override_settings(HOPPER_WEBHOOK_NETWORKS=[ip_network(NETWORK)]):
        hooks = {
            mode: add_webhook(place, ear.url(path), actor=ALICE).pk for mode, path in MODES.items()
        }
    spans: dict[str, list[list[float]]] = {mode: [] for mode in ("none", *MODES)}
    for _ in range(SIZE.rounds):
        for mode, windows in spans.items():
            Webhook.objects.update(enabled=False)
            if mode in hooks:
                replay(hooks[mode], None, actor=ALICE)
                time.sleep(1.5)  # until the courier has taken the webhook
            windows.append(_completions(place))
    assert ear.got, "the courier has sent nothing"
    return spans


def _completions(place: str) -> list[float]:
    from instances.tasks.worker import claim_next, complete_task
    from tests.factories import ALICE

    spans, end = [], time.monotonic() + SIZE.seconds
    while time.monotonic() < end:
        (lease,) = claim_next(place, worker="w", actor=ALICE).leases
        began = time.perf_counter()
        complete_task(lease.task.pk, token=lease.token, actor=ALICE)
        spans.append((time.perf_counter() - began) * 1000)
    return spans


def _p99(spans: list[float]) -> float:
    return sorted(spans)[int(len(spans) * 0.99)]
