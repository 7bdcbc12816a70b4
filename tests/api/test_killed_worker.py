"""A worker is killed: its task goes on where it stood, and what it says late does not count."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta

from django.contrib.auth import get_user_model
from django.utils import timezone

from delegation.sweep import sweep
from instances.models import AgentToken, Attempt, Event, HopperInstance, Task
from tests.api.conftest import Caller
from tests.factories import TaskFactory

WAIT_SECONDS = 60


def _until(true: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not true():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_next_claim_carries_its_checkpoint_and_its_late_result_is_kept_but_does_not_count(
    ada: Caller, tree: dict[str, HopperInstance], child_environ: dict[str, str]
) -> None:
    task = TaskFactory(instance=tree["web-run"])
    user = get_user_model().objects.create(username="zombie")
    _, secret = AgentToken.objects.create(user, name="zombie", role="admin", instance=None)
    script = (
        "import django; django.setup()\n"
        "from tests.concurrency.members import claim_and_hang\n"
        f"claim_and_hang({secret!r}, 'web-run', {{'step': 7}})\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", script], env=child_environ, cwd=os.getcwd())
    _until(Attempt.objects.filter(checkpoint__isnull=False).exists, worker)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()

    assert ada.tell("/instances/web-run/claim", {"worker": "carol"})["tasks"] == []
    # The lease's 30 seconds, passed at once.
    Task.objects.filter(pk=task.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    assert sweep().leases_expired == 1
    (claimed,) = ada.tell("/instances/web-run/claim", {"worker": "carol"})["tasks"]
    assert (claimed["lease"]["attempt"], claimed["lease"]["checkpoint"]) == (2, {"step": 7})

    late = {"token": Attempt.objects.get(number=1).lease_token, "result": {"late": True}}
    refusal = ada.tell(f"/tasks/{task.pk}/complete", late, 409)
    assert (refusal["code"], refusal["state"]) == ("lease_lost", "claimed")
    done = {"token": claimed["lease"]["token"], "result": {"by": "carol"}}
    assert ada.tell(f"/tasks/{task.pk}/complete", done)["result"] == {"by": "carol"}
    assert ada.tell(f"/tasks/{task.pk}/complete", late, 409)["state"] == "done"

    first, second = ada.ask(f"/tasks/{task.pk}/attempts")["results"]
    assert (first["outcome"], first["artifact"]) == ("expired", {"late": True})
    assert (second["outcome"], second["artifact"]) == ("completed", None)
    assert ada.ask(f"/tasks/{task.pk}")["result"] == {"by": "carol"}
    endings = Event.objects.filter(task=task, ending=True)
    assert set(endings.values_list("kind", flat=True)) == {"task.done"}
    assert endings.count() == endings.values("instance").distinct().count()
