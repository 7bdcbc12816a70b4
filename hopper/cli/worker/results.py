"""Makes the report from the end of a command. The exit code alone decides about success."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hopper.cli.worker.attempt import Attempt, Report
from hopper.json_values import MAX_DEPTH, MAX_ELEMENTS, has_too_many, problem_in, read_json

LIMIT = 1_000_000  # bytes of a result as JSON, as the server counts a body; proxies take 1 MiB
LEAST = 64 * 1024  # bytes of the text that is left where the server refuses the result
ERROR_TAIL = 4_000  # bytes of stderr kept with a failure
STOPPED, TIMEOUT = "stopped", "timeout"


def report_of(
    attempt: Attempt, end: Mapping[str, Any], why: str = "", seconds: float = 0
) -> Report:
    """Return the report about an attempt with this end.

    `why` is the reason for which the worker ended the command: the worker was STOPPED, or the
    command ran longer than `seconds` (TIMEOUT). Exit code 0 completes the task unless the time was
    over.
    """
    if why == TIMEOUT:
        words = f"timeout: the command ran longer than {seconds:g} s"
        return _failure(f"{words}\n{errors_of(attempt)}".strip())
    if end.get("code") == 0:
        return _success(attempt)
    if why == STOPPED:
        return Report("release", {})
    if "error" in end:
        return _failure(end["error"])
    if not end or end.get("abandoned"):
        return _failure("the worker died while the command ran")
    return _failure(errors_of(attempt) or ending(end["code"]))


def failure_to_start(error: OSError) -> Report:
    """Return the report for a command that could not be started."""
    return _failure(f"the command could not be started: {error}")


def ending(code: int | None) -> str:
    """Return how a command ended, in words; a negative code is the signal that killed it."""
    if code is None:
        return "the command could not be ended"
    return f"exit code {code}" if code >= 0 else f"killed by signal {-code}"


def errors_of(attempt: Attempt) -> str:
    """Return the end of what the command wrote on stderr."""
    return readable(_tail(attempt.folder / "errors", ERROR_TAIL)).strip()


def readable(data: bytes) -> str:
    """Return output as text that the server takes: no NUL, no broken characters."""
    return data.decode(errors="replace").replace("\x00", "")


def _failure(words: str) -> Report:
    # A path in the words may have bytes that are no text.
    return Report("fail", {"error": readable(words.encode(errors="replace")), "retryable": True})


def _success(attempt: Attempt) -> Report:
    """Return a success with the output as its result: its JSON, or its text, or the end of that."""
    size = _size(attempt.output)
    text = readable(_tail(attempt.output, LIMIT))
    result = _result_of(text) if size <= LIMIT else None
    whole = size <= LIMIT and _bytes(result) <= LIMIT
    return Report(
        "complete",
        {"result": result if whole else _cut(attempt, text, size, LIMIT)},
        less=[
            {"result": _cut(attempt, text, size, LEAST)},
            {"result": _cut(attempt, "", size, LEAST)},
        ],
        keeps_output=not whole,
    )


def _result_of(text: str) -> Any:
    """Return the JSON that a text is, or the text under `output` where the server takes no such."""
    try:
        value = read_json(text.encode())
    except ValueError:
        return {"output": text}
    # The result lies one level deep in the body of the report, beside a few other values.
    is_large = has_too_many(json.dumps(value).encode(), MAX_ELEMENTS - 100)
    return {"output": text} if is_large or problem_in(value, depth=MAX_DEPTH - 1) else value


def _cut(attempt: Attempt, text: str, size: int, limit: int) -> dict[str, Any]:
    """Return the end of a text within `limit` bytes of JSON, and a note where the whole is."""
    note = f"cut: all {size} bytes are in {attempt.output} on {socket.gethostname()}"
    room = limit - _bytes({"output": "", "truncated": True, "note": note})
    while (length := _bytes(text) - 2) > room:
        text = text[len(text) - len(text) * room // length :]
    return {"output": text, "truncated": True, "note": note}


def _bytes(value: Any) -> int:
    """Return the size of a value in the body of a request."""
    return len(json.dumps(value))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _tail(path: Path, length: int) -> bytes:
    """Return the last bytes of a file, none where there is no file."""
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - length, 0))
            return file.read(length)
    except OSError:
        return b""
