"""The two forms of log lines: text for people, JSON for programs."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class TextFormatter(logging.Formatter):
    """Formats a record as one line; what one of our own was given by `extra` follows in brackets.

    A fault that is logged has to be told without the JSON form as well.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        if not hasattr(record, "event"):
            return line
        found = {key: value for key, value in vars(record).items() if key not in _OWN}
        words = ", ".join(f"{key}={value}" for key, value in found.items() if key != "event")
        return f"{line} [{words}]" if words else line


class JsonFormatter(logging.Formatter):
    """Formats a record with all it was given by `extra` as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update((key, value) for key, value in vars(record).items() if key not in _OWN)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
