"""The one reason why each unfinished task waits (R26)."""

from instances.waiting.reasons import (
    Waits,
    claimable_anywhere,
    count_reasons,
    waiting_condition,
    waiting_on,
    waits_by_instance,
)
from instances.waiting.wording import Reason, in_words, next_step

__all__ = [
    "Reason",
    "Waits",
    "claimable_anywhere",
    "count_reasons",
    "in_words",
    "next_step",
    "waiting_condition",
    "waiting_on",
    "waits_by_instance",
]
