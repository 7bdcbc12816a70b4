"""What each process of a server does in a thread when it begins, before a caller needs it."""

from __future__ import annotations

import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)

AT_START: list[Callable[[], object]] = []
"""Apps append a function here when they are ready."""


def warm_up() -> None:
    """Call each function. A failure is logged: the first caller then does the work."""
    for prepare in AT_START:
        try:
            prepare()
        except Exception as error:
            logger.warning("not warm: %s", error, extra={"event": "not_warm"}, exc_info=True)
