"""The names of the environment variables of Hopper. Does not import Django."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

PREFIX = "HOPPER_"
SETTINGS = frozenset(
    {
        "HOPPER_ALLOWED_HOSTS",
        "HOPPER_ARCHIVE_DIR",
        "HOPPER_AUTH",
        "HOPPER_AUTO_ROUTE",
        "HOPPER_BODY_SECONDS",
        "HOPPER_CONFIG_DIR",
        "HOPPER_CONN_MAX_AGE",
        "HOPPER_CSRF_TRUSTED_ORIGINS",
        "HOPPER_DATABASE_URL",
        "HOPPER_DEBUG",
        "HOPPER_FAILURES_PER_MINUTE",
        "HOPPER_HEAD_SECONDS",
        "HOPPER_HTTPS",
        "HOPPER_LOGIN_FAILURES",
        "HOPPER_LOG_FORMAT",
        "HOPPER_LOG_LEVEL",
        "HOPPER_MAX_BODY_BYTES",
        "HOPPER_NOTIFY_HOSTS",
        "HOPPER_PROXIES",
        "HOPPER_REQUESTS_PER_MINUTE",
        "HOPPER_SECRET_KEY",
        "HOPPER_SECRET_KEY_FALLBACKS",
        "HOPPER_STATIC_FINDERS",
        "HOPPER_STATIC_ROOT",
        "HOPPER_WEBHOOK_NETWORKS",
    }
)
"""The settings of a server."""
FILES = frozenset(f"{name}_FILE" for name in SETTINGS)
"""The names of files that hold the settings."""
COMMANDS = frozenset(
    {"HOPPER_HOME", "HOPPER_SESSION", "HOPPER_TOKEN", "HOPPER_URL", "HOPPER_WORKER"}
)
"""The variables that the command line reads."""
GIVEN = frozenset({"HOPPER_INSTANCE_ID", "HOPPER_LEASE_TOKEN", "HOPPER_TASK_ID"})
"""The variables that `hopper worker` gives to its command."""
OTHERS = ("HOPPER_TEST_", "HOPPER_STORM", "HOPPER_FUZZ", "HOPPER_DATABASE_PASSWORD")
"""The beginnings of names that tests and the files in deploy/ read."""
_LIKENESS = 0.8


def unknown(names: Iterable[str]) -> list[str]:
    """Return the names that begin like Hopper's and are none of them, sorted."""
    known = SETTINGS | FILES | COMMANDS | GIVEN
    return sorted(
        name
        for name in names
        if name.startswith(PREFIX) and name not in known and not name.startswith(OTHERS)
    )


def mistyped(names: Iterable[str]) -> Iterator[str]:
    """Yield a message for each unknown name that is nearly one of Hopper's."""
    endings = [name.removeprefix(PREFIX) for name in sorted(SETTINGS | FILES | COMMANDS)]
    for name in unknown(names):
        if near := get_close_matches(name.removeprefix(PREFIX), endings, 1, _LIKENESS):
            yield f"{name} is no setting of Hopper; did you mean {PREFIX}{near[0]}?"
