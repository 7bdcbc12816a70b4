"""A crowd: N processes that do the same thing at the same moment on the test's database."""

from __future__ import annotations

import importlib
import multiprocessing
import os
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from threading import BrokenBarrierError
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import connections

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.synchronize import Barrier

PATIENCE = 900 if os.environ.get("HOPPER_STORM") == "1" else 300
GRACE = 10

_barrier: Barrier | None = None


def crowd(
    environ: dict[str, str], member: str, calls: Sequence[Sequence[Any]], *, anew: bool = False
) -> list[Any]:
    """Run `member` ("package.module:function") once per entry of `calls`, each in its own process.

    The processes are forks of this one, which take milliseconds; `anew` lets each load all anew,
    a second each. All begin together. Returns what they returned, in order; an exception in one is
    raised here. The others then have `GRACE` seconds to end before they are killed, and so has a
    crowd that takes longer than `PATIENCE`: a member may wait for what a failed one does not do.
    """
    context: Any = multiprocessing.get_context("spawn" if anew else "fork")
    barrier = context.Barrier(len(calls))
    if apps.ready:
        # A connection shared with a fork would be ruined by it.
        connections.close_all()
    with ProcessPoolExecutor(
        len(calls), mp_context=context, initializer=_begin, initargs=(environ, barrier)
    ) as pool:
        futures = [pool.submit(_run, member, list(arguments)) for arguments in calls]
        wait(futures, PATIENCE, FIRST_EXCEPTION)
        if wait(futures, GRACE).not_done:
            for process in list(pool._processes.values()):
                process.kill()
        failures = [one for future in futures if (one := future.exception())]
        # These follow from the failure to show.
        failures.sort(key=lambda one: isinstance(one, BrokenBarrierError | BrokenProcessPool))
        if failures:
            raise failures[0]
        return [future.result() for future in futures]


def together() -> None:
    """Wait until every member of the crowd has come to this point."""
    assert _barrier is not None
    _barrier.wait(timeout=300)


def _begin(environ: dict[str, str], barrier: Barrier) -> None:
    global _barrier
    os.environ.clear()
    os.environ.update(environ)
    _barrier = barrier
    import django

    django.setup()


def _run(member: str, arguments: list[Any]) -> Any:
    module, name = member.split(":")
    assert _barrier is not None
    try:
        function = getattr(importlib.import_module(module), name)
        together()
        return function(*arguments)
    except BaseException:
        _barrier.abort()
        raise
