"""The two forms of log lines: text for people, JSON for programs."""

from __future__ import annotations

import logging
import re
from typing import Any

from pythonjsonlogger import json

from hopper.masks import masked

_LINE_ENDS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class OneLine(logging.Filter):
    """Takes the traceback from each record: its message says enough."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = None
        return True


class TextFormatter(logging.Formatter):
    """Formats a record as one line without secrets. The event's fields follow in brackets."""

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        if hasattr(record, "event"):
            line += self._fields(record)
        # A text of a stranger cannot look like a line of its own.
        return _LINE_ENDS.sub(lambda found: ascii(found.group())[1:-1], line)

    def _fields(self, record: logging.LogRecord) -> str:
        found = {key: value for key, value in vars(record).items() if key not in _OWN}
        words = ", ".join(f"{key}={value}" for key, value in found.items() if key != "event")
        return f" [{words}]" if words else ""


class JsonFormatter(json.JsonFormatter):
    """Formats a record as one JSON object without secrets, with the fields of `extra`."""

    def __init__(self) -> None:
        super().__init__(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger", "exc_info": "exception"},
            timestamp="at",
        )

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of a record, its level in lower case."""
        return {**log_data, "level": log_data["level"].lower()}
