"""A proxy between workers and a real server that spoils calls as a test says."""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import urllib3

STATUSES = (503, 500, 502, 429, 401)
LATE = ("reset", "lost answer", "silence", "slow")
PAGES = {"no such page": 404, "forbidden page": 403, "welcome page": 200}
"""The pages of other programs, which a proxy shows while its server is away."""
SILENCE = 12.0  # seconds: longer than a worker waits for an answer
FORWARDED = ("content-type", "idempotency-key", "authorization", "accept")


class Proxy:
    """Listens on `address`. `fault()` names a spoiled call: a status, of LATE or PAGES, or None."""

    def __init__(self, server: str, fault: Callable[[], object] = lambda: None) -> None:
        self.fault = fault
        self.silence = SILENCE
        self.calls: list[str] = []
        self._server = server
        self._pool = urllib3.PoolManager(retries=False, timeout=60)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._http.shutdown()
        self._http.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                proxy._carry(self)

            do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler

    def _carry(self, call: BaseHTTPRequestHandler) -> None:
        body = call.rfile.read(int(call.headers.get("Content-Length", 0)))
        self.calls.append(f"{call.command} {urlsplit(call.path).path}")
        fault = self.fault()
        if isinstance(fault, int):
            detail = json.dumps({"code": "spoiled", "detail": f"Spoiled with {fault}."}).encode()
            return _answer(call, fault, detail)
        if fault in PAGES:
            return _answer(call, PAGES[str(fault)], b"<html></html>")
        if fault == "reset":
            return _reset(call)
        if fault == "silence":
            time.sleep(self.silence)
            return _reset(call)
        if fault == "slow":
            time.sleep(random.uniform(0.2, 2))
        headers = {name: call.headers[name] for name in FORWARDED if name in call.headers}
        url = self._server + call.path
        try:
            answer = self._pool.request(call.command, url, body=body, headers=headers)
        except urllib3.exceptions.HTTPError:
            return _reset(call)
        if fault == "lost answer":
            return _reset(call)
        return _answer(call, answer.status, answer.data)


def _answer(call: BaseHTTPRequestHandler, status: int, data: bytes) -> None:
    try:
        call.send_response(status)
        call.send_header("Content-Type", "application/json")
        call.send_header("Content-Length", str(len(data)))
        call.end_headers()
        call.wfile.write(data)
    except OSError:
        # The worker has given up, or was killed.
        call.close_connection = True


def _reset(call: BaseHTTPRequestHandler) -> None:
    linger = struct.pack("ii", 1, 0)
    call.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    call.connection.close()
    call.close_connection = True
