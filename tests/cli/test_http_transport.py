"""Over HTTP: a lost connection is retried under one key, and no answer is explained."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from hopper.cli.http import HttpTransport
from hopper.cli.main import run
from hopper.cli.parser import build_parser
from hopper.cli.transport import Client, CliError, Refused, Unreachable


class Handler(BaseHTTPRequestHandler):
    """Drops the connection or answers, as the test's script says; keeps what it saw."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        server: Any = self.server
        length = int(self.headers.get("Content-Length") or 0)
        server.seen.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
        step = server.script.pop(0)
        if step == "drop":
            self.connection.close()
            self.close_connection = True
            return
        status, data = step
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if status == 302:
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = do_DELETE = answer

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def server() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen, server.script = [], []
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_lost_answer_to_a_post_is_asked_for_again_under_the_same_key(server: Any) -> None:
    server.script = ["drop", (201, b'{"id": "task-1"}')]
    reply = HttpTransport(server.url).request("POST", "/tasks", body={"title": "x"})
    assert (reply.status, reply.data) == (201, {"id": "task-1"})
    keys = [headers["Idempotency-Key"] for _, _, headers, _ in server.seen]
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_two_posts_have_two_keys(server: Any) -> None:
    server.script = [(201, b"{}"), (201, b"{}")]
    transport = HttpTransport(server.url)
    transport.request("POST", "/tasks", body={})
    transport.request("POST", "/tasks", body={})
    assert len({headers["Idempotency-Key"] for _, _, headers, _ in server.seen}) == 2


def test_a_busy_server_is_asked_again(server: Any) -> None:
    server.script = [(503, b""), (200, b"[]")]
    assert HttpTransport(server.url).request("GET", "/tasks").data == []


def test_the_token_and_the_parameters_go_along(server: Any) -> None:
    server.script = [(200, b"{}")]
    params = {"all_tags": ["a b", "c"], "ready": True, "owner": None}
    HttpTransport(server.url + "/api/v1/", "hop_x").request("GET", "/tasks", params=params)
    _, path, headers, _ = server.seen[0]
    assert path == "/api/v1/tasks?all_tags=a+b&all_tags=c&ready=true"
    assert headers["Authorization"] == "Bearer hop_x"


def test_a_redirect_is_not_followed_with_the_token(server: Any) -> None:
    server.script = [(302, b"")]
    with pytest.raises(Unreachable):
        Client(HttpTransport(server.url, "hop_x")).get("/tasks")
    assert len(server.seen) == 1


def test_a_missing_server_is_reported_with_the_next_step(
    capsys: pytest.CaptureFixture[str],
) -> None:
    args = build_parser().parse_args(["--server", "http://127.0.0.1:9", "task", "list"])
    assert run(args) == 1
    err = capsys.readouterr().err
    assert err.startswith("Error: No answer from http://127.0.0.1:9")
    assert "Connection refused" in err
    assert "object at 0x" not in err
    assert "--local" in err


@pytest.mark.parametrize(
    "address", ["localhost:8000", "ftp://x", "http://", "nonsense", "http://[::1", "http://x:99999"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(CliError, match="is not the address of a server"):
        HttpTransport(address)


def test_a_page_of_something_else_is_no_answer(server: Any) -> None:
    server.script = [(200, b"<html>")]
    with pytest.raises(Unreachable, match="not as Hopper does"):
        HttpTransport(server.url).request("GET", "/tasks")


def test_a_401_says_where_the_token_goes(server: Any) -> None:
    server.script = [(401, json.dumps({"detail": "No credentials."}).encode())]
    with pytest.raises(Refused) as refused:
        Client(HttpTransport(server.url)).get("/tasks")
    assert list(refused.value.lines()) == [
        "No credentials.",
        "Give a token with --token or HOPPER_TOKEN.",
    ]


def test_a_refusal_without_words_still_names_its_status(server: Any) -> None:
    server.script = [(500, b"<html>")]
    with pytest.raises(Refused, match="500"):
        Client(HttpTransport(server.url)).get("/tasks")
