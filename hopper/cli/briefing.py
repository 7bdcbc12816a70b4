"""The briefing of an agent: its tasks, the progress of each, and the exact next step.

The text is bounded: the most important comes first, and what does not fit is named with the
command that shows it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from hopper.cli.transport import Client, at

TOKENS = 2000  # the length of a briefing by default
BYTES_PER_TOKEN = 4
"""The length of a token, about. In bytes, because a character of some languages is a token."""
_BRIEF = 1500  # characters of a description
_LINE = 300  # characters of a checkpoint, an error, an answer or a lesson
_NAMED = 50
_READY = 5
_LESSONS = 5
_STARTED = ["claimed", "in_progress"]


@dataclass(frozen=True)
class Words:
    """The form of the next steps: commands of a shell, or calls of tools."""

    show: str
    claim: str
    claim_next: str
    answered: str
    heartbeat: str
    complete: str
    ask: str
    more: str


COMMANDS = Words(
    show="hopper task get {id}",
    claim="hopper task claim {id}{worker}",
    claim_next="hopper task claim --instance {id}{worker}",
    answered="hopper task questions {id}",
    heartbeat="""hopper task heartbeat {id} --checkpoint '{{"step": 1}}'""",
    complete="""hopper task complete {id} --result '{{"ok": true}}'""",
    ask="hopper task ask {id} --question TEXT",
    more="(more did not fit: hopper prime --tokens N, hopper task list --worker NAME)",
)
TOOLS = Words(
    show="get_task {id}",
    claim="claim_task with task_id {id}",
    claim_next="claim_task with instance_id {id}",
    answered="list_questions {id}",
    heartbeat="heartbeat {id} with a checkpoint",
    complete="complete_task {id}",
    ask="ask_question {id}",
    more="(more did not fit: get_task and list_questions show each task)",
)


def briefing(
    client: Client,
    worker: str,
    held: Iterable[str] = (),
    *,
    lost: Iterable[str] = (),
    words: Words = COMMANDS,
    tokens: int = TOKENS,
    named: bool = True,
) -> str:
    """Return the briefing of a worker; `held` are tasks whose leases its session has.

    `lost` are tasks whose leases its session had. `named`: the worker's name has to be given in
    commands.
    """
    head = [f"# Hopper: you work as {worker}"]
    head += [f"Your lease of {id} is over: stop working on it." for id in lost]
    option = f" --worker {worker}" if named else ""
    return bounded(chain(head, _parts(client, worker, held, words, option)), tokens, words)


def _parts(
    client: Client, worker: str, held: Iterable[str], words: Words, option: str
) -> Iterator[str]:
    """Yield the parts of a briefing, the most important first. Each is read when it is needed.

    `option` is how a command names the worker, "" where none has to.
    """
    rows = client.pages(at("tasks"), {"worker": worker, "status": _STARTED}, limit=500)
    ids = list(dict.fromkeys([*held, *(row["id"] for row in rows)]))
    if len(ids) > 1:
        rest = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
        yield f"You hold {len(ids)} tasks: {', '.join(ids[:_NAMED])}{rest}"
    for id in ids:
        yield task_briefing(client, id, words)
    yield from _waiting(client, worker, words, option)
    if not ids:
        yield "You hold no task."
        yield from _ready(client, words, option)


def task_briefing(client: Client, task_id: str, words: Words = COMMANDS) -> str:
    """Return what a worker of a task should know: the brief, how far it is, the next step."""
    task = client.get(at("tasks", task_id))
    attempts = client.pages(at("tasks", task_id, "attempts"))
    lines = [f"## {task_id}: {task['title']}", *_state(task)]
    description = task.get("description") or ""
    if description:
        lines.append(f"Brief: {_cut(description, _BRIEF)}")
        if len(description) > _BRIEF:
            lines.append(f"(whole: {words.show.format(id=task_id)})")
    checkpoint = next((row["checkpoint"] for row in reversed(attempts) if row["checkpoint"]), None)
    if checkpoint is not None:
        lines.append(f"Last checkpoint (go on from here): {_as_json(checkpoint)}")
    lines += [
        f"Attempt {row['number']} by {row['worker']}: {row['outcome']}"
        + (f", {_cut(row['error'], _LINE)}" if row["error"] else "")
        for row in attempts
        if row["outcome"]
    ]
    lines += [_asked(row) for row in task.get("questions") or ()]
    lines += _lessons(client, task)
    steps = (words.heartbeat, words.complete, words.ask)
    lines.append("Next: " + "; or ".join(step.format(id=task_id) for step in steps))
    return "\n".join(lines)


def bounded(parts: Iterable[str], tokens: int, words: Words = COMMANDS) -> str:
    """Return the parts as one text of at most about `tokens`; the first are whole."""
    text, most = "", tokens * BYTES_PER_TOKEN
    for part in parts:
        longer = f"{text}\n\n{part}" if text else part
        if len(longer.encode()) > most:
            room = max(0, most - len(f"\n\n{words.more}".encode()))
            kept = longer.encode()[:room].decode(errors="ignore").rstrip()
            return f"{kept}\n\n{words.more}" if kept else ""
        text = longer
    return text


def _state(task: dict[str, Any]) -> Iterator[str]:
    lease = f", lease until {task['lease_expires_at']}" if task.get("lease_expires_at") else ""
    yield f"{task['status']} at {task['instance_id'] or 'no instance'}, {task['priority']}{lease}"


def _asked(row: dict[str, Any]) -> str:
    answer = f"answer: {row['answer']}" if row.get("answer") else row["state"]
    return f"Question: {_cut(row['text'], _LINE)} - {_cut(answer, _LINE)}"


def _lessons(client: Client, task: dict[str, Any]) -> list[str]:
    project = task.get("project")
    if not project:
        return []
    rows = client.pages(at("lessons"), {"project": project}, limit=_LESSONS)
    return [
        f"Lesson ({row['confidence']}): {row['title']}"
        + (f": {_cut(row['description'], _LINE)}" if row["description"] else "")
        for row in rows
    ]


def _waiting(client: Client, worker: str, words: Words, option: str) -> Iterator[str]:
    """Yield the tasks about which the worker has asked, and that wait or can be taken up."""
    for row in client.pages(at("tasks"), {"asked_by": worker, "open": True}, limit=10):
        if row["status"] in _STARTED:
            continue
        lines = [f"## You asked about {row['id']}: {row['title']}"]
        lines += [_asked(one) for one in row["questions"]]
        is_open = any(one["state"] == "open" for one in row["questions"])
        step = words.answered if is_open else words.claim
        lines.append(f"Next: {step.format(id=row['id'], worker=option)}")
        yield "\n".join(lines)


def _ready(client: Client, words: Words, option: str) -> Iterator[str]:
    """Yield where work can be claimed now."""
    rows = client.pages(at("tasks"), {"ready": True}, limit=50)
    places: dict[str, int] = {}
    for row in rows:
        if row["instance_id"]:
            places[row["instance_id"]] = places.get(row["instance_id"], 0) + 1
    for id, number in list(places.items())[:_READY]:
        step = words.claim_next.format(id=id, worker=option)
        yield f"{number} ready at {id}. Next: {step}"


def _as_json(value: Any) -> str:
    return _cut(json.dumps(value, ensure_ascii=False), 4 * _LINE)


def _cut(text: str, most: int) -> str:
    text = text.strip()
    return text if len(text) <= most else text[:most].rstrip() + " …"
