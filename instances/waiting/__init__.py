"""The one reason why each unfinished task waits (R26)."""

from instances.waiting.reasons import (
    claimable_anywhere,
    count_reasons,
    waiting_condition,
    waiting_on,
)
from instances.waiting.wording import Reason, in_words, next_step

__all__ = [
    "Reason",
    "claimable_anywhere",
    "count_reasons",
    "in_words",
    "next_step",
    "waiting_condition",
    "waiting_on",
]
