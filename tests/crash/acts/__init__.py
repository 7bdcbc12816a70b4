"""What the laboratory kills a process at: each act prepares its world and says what is asked."""

from tests.crash.acts import arriving, delegating, governing, sweeping, working
from tests.crash.acts.asking import ACTS, ONLY_BY_KEY, SWEEP, Asked

__all__ = [
    "ACTS",
    "ONLY_BY_KEY",
    "SWEEP",
    "Asked",
    "arriving",
    "delegating",
    "governing",
    "sweeping",
    "working",
]
