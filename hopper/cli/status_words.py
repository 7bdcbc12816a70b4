"""The status words of the command line and those of the server (R19)."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import Any

from hopper.protocol import ASKED_FOR, CLI_WORDS, ENDED, PARENTS, TASK

SCOPES = tuple(PARENTS)
STATUS_WORDS = tuple(dict.fromkeys(CLI_WORDS.values()))
OPEN_STATUSES = tuple(status for status in TASK.transitions if status not in ENDED)


def status_word(text: str) -> str:
    """Return a status, in the words of the command line or the server, from typed text."""
    word = text.strip().lower().replace("-", "_")
    if word not in STATUS_WORDS and word not in CLI_WORDS:
        raise ArgumentTypeError(
            f"'{text}' is no status; one of {', '.join(STATUS_WORDS)} "
            f"(or the server's {', '.join(CLI_WORDS)})"
        )
    return word


def settable_word(text: str) -> str:
    """Return a status that a person may set. "failed" is refused: failures are reported (R19)."""
    word = status_word(text)
    if word == "failed":
        words = ", ".join(one for one in STATUS_WORDS if one != word)
        raise ArgumentTypeError(f"'failed' is reported by hopper task fail; by hand: {words}")
    return word


def server_words(word: str) -> tuple[str, ...]:
    """Return the server's statuses that a word means in a filter."""
    meant = tuple(status for status, shown in CLI_WORDS.items() if shown == word)
    return meant or (word,)


def server_word(word: str) -> str:
    """Return the server's status for a word (R19)."""
    return ASKED_FOR.get(word, word)


def scope_word(text: str) -> str:
    """Return a scope in upper case, however it was typed."""
    word = text.strip().upper()
    if word not in SCOPES:
        raise ArgumentTypeError(f"'{text}' is no scope; one of {', '.join(SCOPES)}")
    return word


def spoken(task: Any) -> Any:
    """Return a task of the server with `status` in the command line's words (R19)."""
    if not isinstance(task, dict) or "status" not in task:
        return task
    status = task["status"]
    return {**task, "status": CLI_WORDS.get(status, status), "server_status": status}
