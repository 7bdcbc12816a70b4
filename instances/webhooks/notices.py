"""Notices: events in words by mail, Slack, Discord or ntfy, through the library apprise (an extra).

The address of a notice is a webhook's URL in the form of apprise. An address names its service;
only mail and ntfy have servers of their own, and those are the ones that the operator names.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.conf import settings

from hopper.errors import Invalid
from hopper.masks import masked
from hopper.protocol import EVENTS
from instances.webhooks.addresses import MAX_URL
from instances.webhooks.messages import TEST, Message
from instances.webhooks.sending import LONGEST_REASON, SECONDS, Outcome

SCHEMES = ("mailto", "mailtos", "slack", "discord", "ntfy", "ntfys")
HIDDEN = "***"
LONGEST_VALUE = 300
"""The most characters of one value of an event in a notice."""

_OPTIONS = frozenset(
    {"to", "cc", "bcc", "from", "name", "reply", "smtp", "mode", "user", "pass", "priority", "tags"}
    | {"channel", "thread", "token"}
)
"""The options that an address may have. Some of the others read files or loosen checks."""
_PARTS = ("qsd", "qsd+", "qsd-", "qsd:")
"""The sorts of options that the library knows: plain ones, and ones with a sign before the name."""

_CALLS = re.compile(r"@(?=everyone|here|channel)|<(?=[!@#])", re.IGNORECASE)
"""The beginnings of the words by which Slack and Discord call people."""

_INSTALL = "this server sends no mail and no chat: pip install 'hopper-queue[notify]'"
_log = logging.getLogger("apprise")
_said: ContextVar[list[str]] = ContextVar("said")


def is_notice(url: str) -> bool:
    """Return whether a URL is the address of a notice."""
    return _scheme(url) in SCHEMES


def shown_address(url: str) -> str:
    """Return a URL for a reader. Of a notice the service alone: the rest holds its secrets."""
    return f"{_scheme(url)}://{HIDDEN}" if is_notice(url) else url


def require_notice(url: str) -> None:
    """Raise Invalid for an address that no notice may have. Nothing is sent."""
    try:
        service_of(url)
    except Invalid:
        raise
    except Exception as error:  # A library reads what a person typed.
        raise _unreadable(url) from error


def service_of(url: str) -> Any:
    """Return the service of apprise that an address names. Raises Invalid."""
    try:
        import apprise
    except ImportError:
        raise Invalid.field("url", _INSTALL) from None
    # The library's own reading counts: it also finds options after a # or a ;.
    to_parts: Any = apprise.plugins.url_to_dict
    read = to_parts(url) if len(url) <= MAX_URL else None
    options = {name for part in _PARTS for name in (read or {}).get(part, ())}
    if unknown := sorted(options - _OPTIONS):
        words = f"the option {unknown[0]!r} is not allowed; allowed: {', '.join(sorted(_OPTIONS))}"
        raise Invalid.field("url", words)
    asset = apprise.AppriseAsset(
        app_id="Hopper",
        app_desc="Hopper",
        image_url_mask="",
        image_url_logo="",
        async_mode=False,
        http_redirects=False,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
        plugin_paths=[],
    )
    found: Any = apprise.Apprise.instantiate(url, asset=asset) if read else None
    if found is None:
        raise _unreadable(url)
    host = _host(found)
    if host and host not in settings.HOPPER_NOTIFY_HOSTS:
        words = (
            f"the server {host} is not in HOPPER_NOTIFY_HOSTS; ask the operator to name it there"
        )
        raise Invalid.field("url", words)
    found.socket_connect_timeout = found.socket_read_timeout = SECONDS / 2
    return found


def _unreadable(url: str) -> Invalid:
    words = f"is no address of {_scheme(url)}; https://appriseit.com shows its form"
    return Invalid.field("url", words)


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower()


def _host(service: Any) -> str:
    """Return the server of a service, "" where the library fixes it."""
    if hasattr(service, "smtp_host"):
        return str(service.smtp_host).lower()
    is_own = getattr(service, "cloud_notify_url", "") and service.mode != "cloud"
    return str(service.host).lower() if is_own else ""


async def notify(url: str, message: Message, titles: Mapping[str, str]) -> Outcome:
    """Send a message in words, within ten seconds in all; `titles` are of tasks by id."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(SECONDS):
            reason = await asyncio.to_thread(_sent, url, *words_of(message, titles))
    except TimeoutError:
        reason = f"no answer within {SECONDS:g} s"
    return Outcome(None, masked(reason)[:LONGEST_REASON], time.monotonic() - began)


def _sent(url: str, title: str, text: str) -> str:
    """Send, and return why it failed, "" where the service took the message."""
    try:
        service = service_of(url)
        with _heard() as said:
            taken = _notify(service, title, text)
    except Invalid as refused:
        return str(refused)
    except Exception as error:  # The services of the library have many kinds of errors.
        return f"{type(error).__name__}: {error}"
    return "" if taken else " ".join(said) or "the service did not take the message"


def _notify(service: Any, title: str, text: str) -> bool:
    """Send plain text, in the form that the service wants. Return whether the service took it."""
    import apprise

    sender = apprise.Apprise(asset=service.asset)
    sender.add(service)
    kind = apprise.NotifyFormat.TEXT
    return bool(sender.notify(_quiet(text), title=_quiet(title), body_format=kind))


def _quiet(text: str) -> str:
    """Return the text so that no word of it calls everybody in a chat."""
    return _CALLS.sub("\\g<0>\u200b", text)


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Collect the warnings that the library logs in this context: it says only there what failed.

    The library takes the context along into its own threads.
    """
    said: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if _said.get(None) is said:
                said.append(record.getMessage())

    handler, token = Handler(logging.WARNING), _said.set(said)
    _log.addHandler(handler)
    try:
        yield said
    finally:
        _log.removeHandler(handler)
        _said.reset(token)


def words_of(message: Message, titles: Mapping[str, str]) -> tuple[str, str]:
    """Return the title and the text of a message for a person."""
    event = json.loads(message.body)["data"]
    if message.kind == TEST:
        return "Hopper: a test", f"{event['webhook_id']} at {event['instance_id']} works."
    task = event["task_id"]
    lines = [EVENTS.get(message.kind, message.kind), f"at {event['instance_id']}"]
    lines += [f"task {task}"] if task else []
    lines += [
        f"{name}: {str(value)[:LONGEST_VALUE]}"
        for name, value in event["data"].items()
        if isinstance(value, str | int | float) and value != ""
    ]
    return f"{message.kind}: {titles.get(task) or task or event['instance_id']}", "\n".join(lines)
