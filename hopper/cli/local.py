"""The transport without a server: the WSGI application called in this process."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, cast
from urllib.parse import unquote

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connection

from hopper import tracing
from hopper.cli import startup
from hopper.cli.arguments import user_name
from hopper.cli.transport import PREFIX, CliError, Params, Reply, UsageError, query
from hopper.embedded import Store

logger = logging.getLogger(__name__)

OPERATOR_KEY = "hopper.local_operator"
WRONG_ARGUMENTS = "Error: "
"""The beginning of the message with which Django refuses the arguments of a command."""


class ApiHandler(WSGIHandler):
    """The application without the parts for browsers: files, sessions, redirects."""

    def load_middleware(self, is_async: bool = False) -> None:
        """Load only the middleware of Hopper. The rest would take half the time of a command."""
        everything = settings.MIDDLEWARE
        settings.MIDDLEWARE = [name for name in everything if name.startswith("hopper.")]
        try:
            super().load_middleware(is_async)
        finally:
            settings.MIDDLEWARE = everything


class LocalTransport:
    """Calls the application as the local operator, by an environ key that no header can set."""

    def __init__(self, store: Store | None = None) -> None:
        self._application = ApiHandler()
        self._store = store
        self._host = next(
            (host for host in settings.ALLOWED_HOSTS if host[:1] not in (".", "*")), "localhost"
        )

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: Any = None,
        key: str | None = None,
        seconds: float | None = None,
        tag: str = "",
    ) -> Reply:
        """Return the application's answer to one call; without a `key` there is none.

        On an embedded store a call first sweeps, at most once in 10 s (R21).
        """
        if self._store is not None:
            startup.sweep(self._store)
        payload = b"" if body is None else json.dumps(body).encode()
        environ = self._environ(method, path, query(params), payload)
        if key:
            environ["HTTP_IDEMPOTENCY_KEY"] = key
        if tag:
            environ["HTTP_IF_MATCH"] = tag
        environ |= {f"HTTP_{name.upper()}": text for name, text in tracing.outgoing().items()}
        answered: list[int] = []
        sent: dict[str, str] = {}

        def start_response(status: str, headers: Any, exc_info: object = None) -> None:
            answered.append(int(status.split(" ", 1)[0]))
            sent.update(headers)

        with connection_kept():
            response: Iterable[bytes] = self._application(environ, cast("Any", start_response))
            with closing(cast("Any", response)):
                data = b"".join(response)
        return Reply(answered[-1], _decoded(data, answered[-1]), sent.get("ETag", ""))

    def _environ(self, method: str, path: str, query: str, payload: bytes) -> dict[str, Any]:
        return {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(f"{PREFIX}{path}", "utf-8").encode().decode("latin-1"),
            "QUERY_STRING": query.removeprefix("?"),
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(payload)),
            "HTTP_ACCEPT": "application/json",
            "HTTP_HOST": self._host,
            "SERVER_NAME": self._host,
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https" if settings.SECURE_SSL_REDIRECT else "http",
            "wsgi.input": io.BytesIO(payload),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            OPERATOR_KEY: user_name(),
        }


@contextmanager
def connection_kept() -> Iterator[None]:
    """Keep Django from closing the connection of a caller inside a transaction."""
    ends = (request_started, request_finished) if connection.in_atomic_block else ()
    for signal in ends:
        signal.disconnect(close_old_connections)
    try:
        yield
    finally:
        for signal in ends:
            signal.connect(close_old_connections)


def _decoded(data: bytes, status: int) -> Any:
    try:
        return json.loads(data) if data else None
    except ValueError:
        return {"detail": f"Hopper answered {status} without saying why; see its log."}


def open_transport() -> LocalTransport:
    """Return the transport to the configured database. Creates and migrates an embedded store."""
    store = startup.set_up()
    # The caller gets the refusal. These logs would write the refusal to stderr again.
    for name in ("django.request", "hopper.rest.problem"):
        log = logging.getLogger(name)
        log.setLevel(logging.ERROR)
        log.addFilter(_is_failure)
    return LocalTransport(store)


def _is_failure(record: logging.LogRecord) -> bool:
    return bool(record.exc_info)


def call(command: str, arguments: Sequence[str]) -> None:
    """Run a management command on the configured database with its own output."""
    from django.core.management import CommandError, call_command

    startup.set_up(whole=True)
    try:
        call_command(command, *arguments)
    except CommandError as error:
        words = str(error)
        if words.startswith(WRONG_ARGUMENTS):
            raise UsageError(words.removeprefix(WRONG_ARGUMENTS)) from error
        raise CliError(words) from error
