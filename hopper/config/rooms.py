"""The rooms register their settings at the first use: most commands read no setting.

The keys are pydantic models, which take longer to load than a whole `hopper task list`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

_waiting: list[Callable[[], None]] = []
_lock = threading.RLock()


def register_late(register: Callable[[], None]) -> None:
    """Call `register` before anything reads a setting. Each app does this in AppConfig.ready()."""
    _waiting.append(register)


def register_all() -> None:
    """Register the settings of all rooms, once."""
    with _lock:
        while _waiting:
            _waiting.pop(0)()
