"""Failpoints: before and after every commit of a process, named by the function that opened it."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

ROOMS = ("hopper.", "instances.", "scopes.", "delegation.")
WRITES = ("INSERT", "UPDATE", "DELETE")
CALL = " FROM hopper_"
"""The mark of a statement that calls a function, which writes."""
CALLING = "hopper.database.functions"

Hook = Callable[[str, str], None]


@dataclass(frozen=True)
class Ended:
    """The end of a forked process: killed, or its returned value and its commits."""

    killed: bool
    value: Any
    commits: list[str]


def watch_commits(hook: Hook) -> None:
    """Call `hook(name, moment)` around every commit of this process from now on.

    `moment` is before or after. A statement outside of any transaction is a commit too.
    """
    commit = BaseDatabaseWrapper.commit

    def watched(self: Any) -> None:
        name = opener()
        hook(name, "before")
        commit(self)
        hook(name, "after")

    def executed(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        alone = not context["connection"].in_atomic_block
        writes = str(sql).lstrip().upper().startswith(WRITES) or CALL in str(sql)
        if not (alone and writes):
            return execute(sql, params, many, context)
        name = opener()
        hook(name, "before")
        result = execute(sql, params, many, context)
        hook(name, "after")
        return result

    BaseDatabaseWrapper.commit = watched
    connection.execute_wrappers.append(executed)


def opener() -> str:
    """Return the innermost function of the product on the stack, as "module.function"."""
    frame = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module.startswith(ROOMS) and module != CALLING:
            return f"{module}.{frame.f_code.co_qualname}"
        frame = frame.f_back
    return "elsewhere"


def die() -> None:
    """End this process at once, as the kernel's out-of-memory killer would."""
    os.kill(os.getpid(), signal.SIGKILL)


def dying_at(number: int, moment: str) -> Hook:
    """Return a hook that dies at the commit of that number, counted from 0."""
    seen = 0

    def hook(name: str, at: str) -> None:
        nonlocal seen
        if seen == number and at == moment:
            die()
        seen += at == "after"

    return hook


def dying_at_random(commits: int, tell: Callable[..., None]) -> Hook:
    """Return a hook that dies at one in so many commits, before it or after; `tell` hears of it."""

    def hook(name: str, at: str) -> None:
        if random.random() < 0.5 / commits:
            tell("killed", commit=name, moment=at)
            die()

    return hook


def forked(body: Callable[[], Any], hook: Hook | None = None) -> Ended:
    """Run `body` in a fork of this warm process, which takes milliseconds, and wait for its end.

    `hook` hears of each commit first. Raises RuntimeError where the body raised.
    """
    # A connection shared with a child would be ruined by it.
    connections.close_all()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _be_child(body, hook, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return Ended(True, None, [])
    answer = json.loads(said)
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return Ended(False, answer["value"], answer["commits"])


def _be_child(body: Callable[[], Any], hook: Hook | None, writing: int) -> None:
    commits: list[str] = []

    def both(name: str, moment: str) -> None:
        if moment == "before":
            commits.append(name)
        if hook is not None:
            hook(name, moment)

    try:
        watch_commits(both)
        answer = {"value": body(), "commits": commits}
    except BaseException:
        answer = {"error": traceback.format_exc()}
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(json.dumps(answer, default=str).encode())
    os._exit(0)
