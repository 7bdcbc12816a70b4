"""The one reason why each unfinished task waits (R26)."""

from instances.waiting.places import Places
from instances.waiting.reasons import (
    Alike,
    alike,
    claimable_anywhere,
    codes_of,
    count_reasons,
    waiting_condition,
    waiting_on,
)
from instances.waiting.wording import Reason, in_words, next_step

__all__ = [
    "Alike",
    "Places",
    "Reason",
    "alike",
    "claimable_anywhere",
    "codes_of",
    "count_reasons",
    "in_words",
    "next_step",
    "waiting_condition",
    "waiting_on",
]
