"""`hopper_sweep`: what is due is done once, or in a loop that ends cleanly and outlives trouble."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from typing import IO, Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import Error, OperationalError, connection
from django.utils import timezone

from delegation import sweep as sweeping
from delegation.audit import audit
from delegation.delegator import Delegator
from delegation.management.commands import hopper_sweep
from delegation.models import TaskDelegation
from delegation.sweep import sweep
from hopper.database import engine
from instances.models import Task
from instances.tasks.worker import claim_next
from tests.factories import ALICE, InstanceFactory, TaskFactory

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE = 60


@pytest.fixture
def leased() -> Task:
    """A task whose worker has died: its lease has run out."""
    web = InstanceFactory(scope="PROJECT", name="web")
    run = InstanceFactory(scope="ORCHESTRATION", parent=web, name="run")
    task = TaskFactory(instance=run)
    claim_next(run.pk, worker="bob", actor=ALICE)
    lose_lease(task)
    return task


def lose_lease(task: Task) -> None:
    Task.objects.filter(pk=task.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))


def swept(*arguments: str) -> str:
    out = StringIO()
    call_command("hopper_sweep", *arguments, stdout=out)
    return out.getvalue().strip()


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.1)


def test_one_sweep_prints_its_counts(leased: Task) -> None:
    assert swept() == "leases expired: 1"
    leased.refresh_from_db()
    assert (leased.status, leased.lease_token) == ("pending", None)
    assert swept() == "nothing was due"
    assert audit() == []


def test_an_offer_nobody_answered_expires() -> None:
    top = InstanceFactory(name="top")
    web = InstanceFactory(scope="PROJECT", parent=top, name="web")
    task = TaskFactory(instance=top)
    offer = Delegator(ALICE).delegate_task(task.pk, web.pk).delegation
    past = timezone.now() - timedelta(seconds=1)
    TaskDelegation.objects.filter(pk=offer.pk).update(expires_at=past)
    assert "offers expired: 1" in swept()
    offer.refresh_from_db()
    assert offer.status == "expired"


def test_json_has_every_count(leased: Task) -> None:
    counts = json.loads(swept("--json"))
    assert counts["leases_expired"] == 1
    assert sum(counts.values()) == 1


@pytest.mark.parametrize("interval", ["0", "-1"])
def test_an_interval_is_more_than_nothing(interval: str) -> None:
    with pytest.raises(CommandError, match="--interval") as refused:
        call_command("hopper_sweep", "--loop", f"--interval={interval}")
    assert refused.value.returncode == 2


def test_the_loop_goes_on_when_the_database_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    command, rounds = hopper_sweep.Command(stdout=StringIO()), []

    def unlucky(**options: Any) -> object:
        rounds.append(1)
        if len(rounds) == 1:
            raise OperationalError("the server went away")
        command.stop = True
        return sweep()

    monkeypatch.setattr(hopper_sweep, "sweep", unlucky)
    call_command(command, "--loop", "--interval=0.01")
    assert len(rounds) == 2
    assert "sweep failed: the server went away" in caplog.text


@pytest.fixture
def sweeper(child_environ: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "manage.py", "hopper_sweep", "--loop", "--interval=0.2"]
    process = subprocess.Popen(
        command,
        cwd=settings.BASE_DIR,
        env=child_environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def first_line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda one: one.name)
def test_a_looping_sweeper_ends_cleanly(
    leased: Task, sweeper: subprocess.Popen[str], number: signal.Signals
) -> None:
    assert first_line(sweeper.stdout).startswith("sweeping every 0.2 s")
    until(lambda: Task.objects.get(pk=leased.pk).status == "pending")
    sweeper.send_signal(number)
    out, err = sweeper.communicate(timeout=PATIENCE)
    assert sweeper.returncode == 0, err
    assert out.splitlines() == ["leases expired: 1", "ended"]
    assert err == ""


@pytest.mark.postgres
def test_a_looping_sweeper_outlives_its_connections(sweeper: subprocess.Popen[str]) -> None:
    def cut() -> int:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return len(cursor.fetchall())

    first_line(sweeper.stdout)
    for _ in range(5):
        until(cut)
    run = InstanceFactory(scope="PROJECT", name="web")
    task = TaskFactory(instance=run)
    claim_next(run.pk, worker="bob", actor=ALICE)
    lose_lease(task)
    until(lambda: Task.objects.get(pk=task.pk).status == "pending")
    sweeper.terminate()
    sweeper.communicate(timeout=PATIENCE)
    assert sweeper.returncode == 0


def test_a_row_that_fails_stops_no_other(
    leased: Task, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The first lease in the order cannot be taken back; the second one is."""
    good = TaskFactory(instance=leased.instance)
    claim_next(str(leased.instance_id), worker="eve", actor=ALICE)
    lose_lease(good)
    Task.objects.filter(pk=leased.pk).update(lease_expires_at=timezone.now() - timedelta(days=1))
    expire = sweeping.expire_lease

    def broken(task: Task, *args: Any) -> bool:
        if task.pk == leased.pk:
            raise KeyError("since")
        return expire(task, *args)

    monkeypatch.setattr(sweeping, "expire_lease", broken)
    failing: set[str] = set()
    first, second = sweep(failing=failing), sweep(failing=failing)
    assert (first.leases_expired, first.rows_failed) == (1, 1)
    assert (second.leases_expired, second.rows_failed) == (0, 1)
    assert [record.message for record in caplog.records] == [f"the sweep passes over {leased.pk}"]


def test_a_stuck_task_without_a_time_stops_no_other(leased: Task) -> None:
    """Its stored reason is broken: the sweep counts it and takes back the lost lease."""
    stuck = TaskFactory(instance=InstanceFactory(name="top"))
    reason = {"code": "Unroutable"}
    Task.objects.filter(pk=stuck.pk).update(status="blocked", route_due=False, waiting=reason)
    done = sweep()
    assert (done.leases_expired, done.rows_failed) == (1, 1)


@pytest.mark.parametrize("at", range(len(sweeping.DUTIES)))
def test_a_duty_that_fails_stops_no_other(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    carried_out: list[str] = []

    def duty(number: int) -> sweeping.Duty:
        def do(this: sweeping.Round) -> int:
            if number == at:
                raise RuntimeError("broken")
            carried_out.append(str(number))
            return 1

        return sweeping.Duty(sweeping.DUTIES[number].counts_as, do)

    broken = tuple(map(duty, range(len(sweeping.DUTIES))))
    monkeypatch.setattr(sweeping, "DUTIES", broken)
    assert sweep().rows_failed == 1
    assert len(carried_out) == len(broken) - 1


def test_the_loop_survives_any_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    command = hopper_sweep.Command(stdout=StringIO())
    rounds = []

    def broken(**options: Any) -> None:
        rounds.append(1)
        command.stop = len(rounds) == 3
        raise KeyError("since")

    monkeypatch.setattr(hopper_sweep, "sweep", broken)
    command._loop(0.01)
    assert len(rounds) == 3


@pytest.mark.postgres
def test_a_command_that_writes_to_a_standby_names_the_primary() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    with pytest.raises(CommandError, match=r"takes no changes: .* Name the primary"):
        call_command("hopper_sweep")
    connection.close()


def test_a_database_that_takes_no_change_ends_the_round_without_a_line_for_each_row(
    transactional_db: None, caplog: pytest.LogCaptureFixture
) -> None:
    setting = "PRAGMA query_only" if engine().one_writer else "SET default_transaction_read_only"
    with connection.cursor() as cursor:
        cursor.execute(f"{setting} = on")
        try:
            with pytest.raises(Error):
                sweep()
        finally:
            cursor.execute(f"{setting} = off")
    assert caplog.records == []
