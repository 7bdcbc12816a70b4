"""The acts that the laboratory kills: each prepares its world and names its request."""

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
