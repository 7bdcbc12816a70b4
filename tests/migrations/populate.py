"""Makes the stores that the upgrade test starts from; runs in a checkout of commit f982b2f only.

    HOPPER_DATABASE_URL=sqlite:////tmp/old.db python populate.py FOLDER
    python -m tests.postgres -- python populate.py FOLDER

Writes FOLDER/ENGINE.sql.gz and FOLDER/ENGINE.json: the moment of the dump and the secrets that a
database keeps as digests only.
"""

# ruff: noqa: E402 - Django is set up before what needs it

from __future__ import annotations

import gzip
import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hopper.settings")
sys.path.insert(0, os.getcwd())

import django

django.setup()

from delegation.services.decompose import decompose_task
from delegation.services.delegator import Delegator
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from instances.services.lessons import file_lesson
from instances.services.lifecycle import pause_instance, terminate_instance
from instances.services.queue import (
    claim_next,
    claim_task,
    complete_task,
    fail_task,
    heartbeat,
)
from instances.services.tasks import NewTask, cancel_task
from rest_framework.test import APIClient

from instances.models import AgentToken, Grant, HopperInstance, Task
from tests import postgres
from tests.factories import ALICE, InstanceFactory, TaskFactory


def tree() -> tuple[HopperInstance, HopperInstance]:
    """Make instances whose names and ids meet: apart only by case, and one named as another's id."""
    top = InstanceFactory(name="top")
    web = InstanceFactory(
        scope="PROJECT", parent=top, name="Web", id="web", config={"capabilities": ["web"]}
    )
    for pk, name in (("web-two", "web"), ("ops", "WEB"), ("ops-two", "ops")):
        InstanceFactory(scope="PROJECT", parent=top, name=name, id=pk)
    run = InstanceFactory(scope="ORCHESTRATION", parent=web, name="run", id="run")
    pause_instance(InstanceFactory(scope="PROJECT", parent=top, name="paused").pk, actor=ALICE)
    gone = InstanceFactory(scope="PROJECT", parent=top, name="gone")
    terminate_instance(gone.pk, actor=ALICE)
    return top, run


def work(run: HopperInstance) -> None:
    """Make tasks in every status, with two live leases and a checkpoint."""
    for title in ("leased", "started", "retried", "done", "failed"):
        TaskFactory(instance=run, title=title, max_attempts=1 if title == "failed" else 3)
        lease = claim_next(run.pk, worker="bob", lease_seconds=86400, actor=ALICE).leases[0]
        if title == "started":
            heartbeat(lease.task.pk, token=lease.token, checkpoint={"at": 7}, actor=ALICE)
        if title == "done":
            complete_task(lease.task.pk, token=lease.token, result={"n": 1}, actor=ALICE)
            file_lesson("Learnt", task=lease.task, description="ä", actor=ALICE)
        if title in ("failed", "retried"):
            fail_task(lease.task.pk, token=lease.token, error="no", actor=ALICE)
    first = TaskFactory(instance=run, title="queued", tags=["web"], required_capabilities=["web"])
    TaskFactory(instance=run, title="dependent", depends_on=[first.pk])
    cancel_task(TaskFactory(instance=run, title="cancelled").pk, reason="no use", actor=ALICE)
    parent = TaskFactory(instance=run, title="parent")
    token = claim_task(parent.pk, worker="eve", actor=ALICE).token
    decompose_task(
        parent.pk, [NewTask(title="child 1"), NewTask(title="child 2")], token=token, actor=ALICE
    )


def offers(top: HopperInstance) -> None:
    """Make an offer that waits for its answer, one that was refused, and an unassigned task."""
    delegator = Delegator(ALICE)
    for title, target in (("offered", "paused"), ("refused", "ops")):
        task = TaskFactory(instance=top, title=title)
        if task.offered_to_id is None and task.instance_id == top.pk:
            made = delegator.delegate_task(task.pk, target).delegation
            if title == "refused":
                delegator.reject_delegation(made.pk, reason="not ours")
    TaskFactory(title="unassigned")


def callers() -> dict[str, str]:
    """Make tokens and people, two of whom bear one name, and an answer under a key."""
    users = get_user_model().objects
    ada, other = users.create(username="ada"), users.create(username="Ada")
    Grant.objects.create(user=ada, instance=None, role="admin")
    Grant.objects.create(user=other, instance_id="web", role="viewer")
    _, secret = AgentToken.objects.create(ada, name="ada", role="admin")
    AgentToken.objects.create(other, name="ada", role="worker", instance_id="run")
    client = APIClient(headers={"Authorization": f"Bearer {secret}", "Idempotency-Key": "k1"})
    body = {"title": "keyed", "instance_id": "run", "unique_key": "only-once"}
    answer = client.post("/api/v1/tasks", body, format="json", SERVER_NAME="localhost")
    assert answer.status_code == 201, answer.content
    return {"token": secret, "keyed": answer.json()["id"]}


def dump() -> str:
    """Return the database as SQL, without a name of this machine."""
    if connection.vendor == "sqlite":
        connection.close()
        with closing(sqlite3.connect(connection.settings_dict["NAME"])) as database:
            return "\n".join(database.iterdump())
    settings = connection.settings_dict
    command = [
        *(postgres.find_binaries() / "pg_dump", "-h", settings["OPTIONS"]["host"], "-U", "hopper"),
        *("--inserts", "--no-owner", "--no-acl", settings["NAME"]),
    ]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # The driver takes no commands of psql, and no `search_path` of the dump's own.
    text = re.sub(r"^(\\.*|--.*|SELECT pg_catalog\.set_config.*|SET .*)$", "", text, flags=re.M)
    return re.sub(r"\n\n+", "\n", text)


def main(folder: Path) -> None:
    call_command("migrate", verbosity=0)
    top, run = tree()
    work(run)
    offers(top)
    known = callers()
    statuses = sorted(Task.objects.values_list("title", "status", "instance_id", "offered_to_id"))
    known |= {"moment": timezone.now().isoformat(), "tasks": statuses}
    engine = connection.vendor
    (folder / f"{engine}.sql.gz").write_bytes(gzip.compress(dump().encode(), 9, mtime=0))
    (folder / f"{engine}.json").write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
