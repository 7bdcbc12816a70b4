"""A program that webhooks call: it answers, fails, hangs, drips or redirects, by its path."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any


@dataclass(frozen=True)
class Received:
    """One request as the receiver got it."""

    path: str
    headers: dict[str, str]
    body: str

    @property
    def type(self) -> str:
        return str(json.loads(self.body)["type"])


@dataclass
class Receiver:
    """The requests so far; `status` is the answer to `/`, `free` ends those that hang."""

    port: int = 0
    status: int = 204
    got: list[Received] = field(default_factory=list)
    free: Event = field(default_factory=Event)

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def types(self, path: str = "/") -> list[str]:
        return [one.type for one in self.got if one.path == path]

    def handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.got.append(Received(self.path, headers, body))
                getattr(self, f"answer_{self.path.strip('/') or 'now'}")()

            def answer_now(self) -> None:
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def answer_hang(self) -> None:
                receiver.free.wait(600)
                self.close_connection = True

            def answer_drip(self) -> None:
                """Send a header of one byte each 50 ms, so that no single read takes long."""
                self.send_response_only(200)
                self.flush_headers()
                while not receiver.free.wait(0.05):
                    self.wfile.write(b"x")

            def answer_flood(self) -> None:
                """Send a head that is longer than any head."""
                self.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 100_000)

            def answer_redirect(self) -> None:
                self.send_response(302)
                self.send_header("Location", receiver.url("/private"))
                self.send_header("Content-Length", "0")
                self.end_headers()

            answer_private = answer_now

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        return Handler


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Start a receiver on this machine; end it with all that hangs in it."""
    found = Receiver()
    server = ThreadingHTTPServer(("127.0.0.1", 0), found.handler())
    server.handle_error = lambda *args: None  # type: ignore[method-assign]
    found.port = server.server_address[1]
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield found
    finally:
        found.free.set()
        server.shutdown()
        server.server_close()
