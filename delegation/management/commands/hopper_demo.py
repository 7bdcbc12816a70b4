"""`manage.py hopper_demo`: shows tasks going down the tree and their completion coming up."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from delegation.audit import INVARIANTS, audit
from hopper.actors import Actor
from hopper.cli.arguments import user_name
from hopper.cli.local import LocalTransport
from hopper.cli.main import run
from hopper.cli.parser import build_parser
from hopper.cli.startup import embedded_store
from hopper.cli.transport import Client, at
from hopper.commands import OperatorCommand
from hopper.counts import counted
from hopper.errors import Conflict
from hopper.upgrades import migrate
from instances.choices import InstanceStatus
from instances.lifecycle.actions import start_instance
from instances.models import AgentToken, HopperInstance
from instances.tree.shape import create_instance


@dataclass(frozen=True)
class Story:
    """The content of the demo: the hierarchy (nested) and the tasks that enter at its root."""

    root: dict[str, Any]
    tasks: list[dict[str, Any]]

    @property
    def runs(self) -> list[str]:
        """The ids of the orchestrations, in the order of the file."""
        return [node["id"] for node in _nodes(self.root) if node["scope"] == "ORCHESTRATION"]


@dataclass
class Built:
    """The ids of created instances and of instances that existed already."""

    made: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)


def read_story(path: Path) -> Story:
    """Read a story from a file."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    return Story(data["instances"], data["tasks"])


def build_hierarchy(story: Story, *, actor: Actor) -> Built:
    """Create the missing instances of the hierarchy, parents first, and start all of them.

    Raises Conflict if one of the ids is terminated: an id is never used twice.
    """
    built = Built()
    _grow(story.root, None, built, actor)
    return built


def _grow(node: dict[str, Any], parent_id: str | None, built: Built, actor: Actor) -> None:
    known = HopperInstance.objects.filter(pk=node["id"]).first()
    if known is None:
        known = create_instance(
            node["id"],
            id=node["id"],
            scope=node["scope"],
            parent_id=parent_id,
            config=node.get("config"),
            description=node.get("description", ""),
            actor=actor,
        )
        built.made.append(known.pk)
    else:
        built.found.append(known.pk)
    if not known.is_live:
        raise Conflict(
            f"{known.pk} is terminated, and an id is never used twice. "
            "Give the demo a new store: HOPPER_DATABASE_URL=sqlite:///FILE.",
            state=known.status,
        )
    if known.status in (InstanceStatus.CREATED, InstanceStatus.STOPPED):
        start_instance(known.pk, actor=actor)
    for child in node.get("children", ()):
        _grow(child, known.pk, built, actor)


def _nodes(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node, *(below for child in node.get("children", ()) for below in _nodes(child))]


STORY = Path(__file__).resolve().parents[1] / "demo.yaml"
PATIENCE = 60  # seconds until unfinished tasks count as stuck
TOKEN = "demo"  # noqa: S105 - its name, not the token
# The command of the workers: takes a moment and answers with JSON, like a real command.
WORK = (
    "import json, sys, time; task = json.load(sys.stdin); time.sleep(0.05);"
    "print(json.dumps({'did': task['title']}))"
)
DONE = ("done", "failed", "cancelled")


class Command(OperatorCommand):
    help = (
        "Build the example hierarchy, send tasks in at its root, let worker processes do them, "
        "and prove the invariants. Running it again is harmless."
    )
    examples = """\
  make demo                      in a store of its own (.demo/)
  hopper demo                    in the store of this machine"""

    def handle(self, *args: Any, **options: Any) -> None:
        began = time.monotonic()
        if embedded_store() is None:  # An embedded store is already migrated.
            migrate()
        self.client = Client(LocalTransport())
        story = read_story(STORY)
        self._build(story)
        tasks = self._send(story)
        self._hopper("instance", "tree")
        with self._workers(story):
            finished = self._wait(tasks)
        self._show(tasks)
        self._print_token()
        self._conclude(story, finished, time.monotonic() - began)

    def _build(self, story: Story) -> None:
        self._head("The hierarchy")
        built = build_hierarchy(story, actor=Actor(user_name(), {"*": "admin"}))
        self.say(f"{counted(len(built.made), 'instance')} made, {len(built.found)} there already")
        self._hopper("instance", "tree")

    def _send(self, story: Story) -> list[dict[str, Any]]:
        root = story.root["id"]
        self._head(f"{counted(len(story.tasks), 'task', 'comes', 'come')} in at {root}")
        tasks = []
        for given in story.tasks:
            fields = {name: value for name, value in given.items() if name != "rests"}
            if "rests" in given:
                fields["unique_key"] = f"demo: {given['title']}"
            task = self.client.post(at("tasks"), {"instance_id": root, **fields})
            tasks.append({**task, "rests": given.get("rests")})
            self.say(f"  {task['title']:<40} → {task['instance_id']}")
        return tasks

    @contextmanager
    def _workers(self, story: Story) -> Iterator[None]:
        """Run one worker process for each run. The processes end with the block."""
        workers = [_worker(f"worker-{number}", run) for number, run in enumerate(story.runs, 1)]
        try:
            yield
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                try:
                    worker.wait(10)
                except subprocess.TimeoutExpired:
                    worker.kill()
                    worker.wait()

    def _wait(self, tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the tasks for workers once all have ended or the time is over.

        Writes a line whenever the counts change.
        """
        wanted = [task["id"] for task in tasks if not task["rests"]]
        self._head(
            f"{counted(len(wanted), 'task', 'is', 'are')} worked off by processes, under a lease"
        )
        deadline, shown = time.monotonic() + PATIENCE, -1
        while True:
            now = [self.client.get(at("tasks", id)) for id in wanted]
            ended = sum(task["status"] in DONE for task in now)
            if ended != shown:
                shown = ended
                self.say(f"  {ended} of {len(wanted)} ended")
            if ended == len(wanted) or time.monotonic() > deadline:
                return now
            time.sleep(0.3)

    def _show(self, tasks: list[dict[str, Any]]) -> None:
        self._head("Afterwards")
        self._hopper("instance", "tree")
        self._hopper("instance", "status")
        self._head("The way of one task, and why it went there")
        self._hopper("task", "delegations", tasks[0]["id"])
        for decision in self.client.pages(at("tasks", tasks[0]["id"], "decisions")):
            self.say(f"{decision['instance_id']}: {'; '.join(decision['reasons'])}")
        self._head("Tasks that wait for a person, with the reason")
        for task in tasks:
            if task["rests"]:
                waiting = self.client.get(at("tasks", task["id"]))["waiting_on"] or {}
                self.say(f"{task['title']} ({task['instance_id']}): {waiting.get('code')}")

    def _print_token(self) -> None:
        if not AgentToken.objects.filter(name=TOKEN).exists():
            self._head("A token for this store, shown this once")
            call_command("hopper_token", "create", TOKEN, stdout=self.stdout)

    def _conclude(self, story: Story, finished: list[dict[str, Any]], seconds: float) -> None:
        self._head("hopper check")
        findings = audit()
        for found in findings:
            self.say(f"✗ {found.invariant} {found.object}: {found.detail}")
        self.say(f"{len(INVARIANTS)} invariants, {counted(len(findings), 'finding')}")
        wrong = [task for task in finished if task["status"] != "done"]
        for task in wrong:
            self.say(f"✗ {task['title']} is {task['status']} at {task['instance_id']}")
        self.say()
        if wrong or findings:
            faults = f"{counted(len(wrong), 'task')}, {counted(len(findings), 'finding')}"
            self.say(f"✗ Something is wrong: {faults}.")
            sys.exit(1)
        workers = counted(len(story.runs), "worker process")
        self.say(
            f"✓ {counted(len(finished), 'task')} done by {workers}, "
            f"every invariant holds ({seconds:.1f} s)."
        )

    def _head(self, words: str) -> None:
        self.say()
        self.say(self.style.MIGRATE_HEADING(words))

    def _hopper(self, *arguments: str) -> None:
        """Show a command line of `hopper` and carry it out."""
        self.say(f"$ hopper {' '.join(arguments)}")
        out: Any = self.stdout
        self.stdout.ending = ""
        try:
            if run(build_parser().parse_args(arguments), LocalTransport(), out):
                raise CommandError(f"hopper {' '.join(arguments)} failed")
        finally:
            self.stdout.ending = "\n"


def _worker(name: str, instance_id: str) -> subprocess.Popen[bytes]:
    """Start a worker by its command line."""
    command = [sys.executable, "-m", "hopper.cli.main", "--local", "worker", name]
    options = ["--instance", instance_id, "--poll", "0.2", "--", sys.executable, "-c", WORK]
    path = [str(settings.BASE_DIR), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(  # noqa: S603 - our own command line
        [*command, *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
    )
