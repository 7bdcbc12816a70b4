"""gunicorn for the laboratory: each worker process kills itself at one of its commits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

preload_app = True  # so that a new worker is a fork, ready in milliseconds
workers = 2
timeout = 60
graceful_timeout = 5
loglevel = "critical"


def post_fork(server: Any, worker: Any) -> None:
    """Arm the worker, where the laboratory says so."""
    folder = os.environ.get("LABORATORY")
    if folder:
        from tests.crash.failpoints import dying_at_random, watch_commits
        from tests.crash.ledger import Ledger

        ledger = Ledger(Path(folder), f"server-{os.getpid()}")
        watch_commits(dying_at_random(int(os.environ["LABORATORY_COMMITS"]), ledger.write))
