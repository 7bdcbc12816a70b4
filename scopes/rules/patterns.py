"""Patterns of operators: RE2 expressions, which take time in proportion to the text."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol, cast

from hopper.words import plain

MAX_PATTERN = 200
"""Characters a pattern may have."""


class Pattern(Protocol):
    """A compiled pattern."""

    def search(self, text: bytes) -> object | None: ...


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> Pattern:
    """Return the pattern, ready to be searched for, whatever the case.

    Raises ValueError in RE2's words for a text that is no expression.
    """
    # Late, because most files have no pattern.
    import re2

    options = re2.Options()
    options.case_sensitive = False
    # A fault goes to the author of the pattern, not to stderr.
    options.log_errors = False
    try:
        return cast("Pattern", re2.compile(plain(pattern), options))
    except re2.error as error:
        raise ValueError(_in_words(error)) from None


def occurs(pattern: str, text: str) -> bool:
    """Return whether the pattern occurs in the text; `$` stands before line breaks at its end."""
    return compiled(pattern).search(text.rstrip("\n").encode(errors="replace")) is not None


def _in_words(error: Exception) -> str:
    words = error.args[0]
    return words.decode(errors="replace") if isinstance(words, bytes) else str(words)
