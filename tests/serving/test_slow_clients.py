"""No client that is slow or unknown holds a thread of `hopper serve` (two threads here)."""

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from multiprocessing import get_context
from statistics import median

import pytest

from tests.serving.conftest import Served, answer

TASKS = "/api/v1/tasks"
CHUNKED = ("Content-Type: application/json", "Transfer-Encoding: chunked")
CLIENTS = 50
ROUNDS, WINDOWS = (100, 12) if os.environ.get("HOPPER_STORM") else (30, 1)


def seconds_of(served: Served, rounds: int) -> list[float]:
    """Return how long requests of another caller take."""
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        served.ask(f"{TASKS}?limit=1")
        taken.append(time.perf_counter() - started)
    return taken


def test_a_stranger_is_refused_before_the_body_is_read(served: Served) -> None:
    head = served.head("POST", TASKS, "Content-Length: 1000000", token="hop_wrong")
    with closing(served.connect(head)) as stranger:
        status, headers, body = answer(stranger)
    assert (status, headers["content-type"]) == (401, "application/problem+json")
    assert json.loads(body)["code"] == "authentication_failed"


def test_a_stranger_that_waits_for_100_continue_gets_the_refusal(served: Served) -> None:
    more = ("Content-Length: 10", "Expect: 100-continue")
    with closing(served.connect(served.head("POST", TASKS, *more, token="hop_wrong"))) as stranger:
        assert answer(stranger)[0] == 401


def test_the_body_of_a_known_sender_may_come_later(served: Served) -> None:
    body = b'{"title": "late"}'
    more = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    with closing(served.connect(served.head("POST", TASKS, *more))) as sender:
        time.sleep(0.2)
        sender.sendall(body[:5])
        time.sleep(0.2)
        sender.sendall(body[5:])
        status, _, data = answer(sender)
    assert (status, json.loads(data)["title"]) == (201, "late")


def test_a_body_that_does_not_end_is_refused(served: Served) -> None:
    with closing(served.connect(served.head("POST", TASKS, *CHUNKED) + b"1\r\n{\r\n")) as sender:
        status, _, data = answer(sender)
    assert (status, json.loads(data)["code"]) == (408, "too_slow")


def test_a_body_above_the_limit_is_refused_by_its_length(served: Served) -> None:
    more = ("Content-Type: application/json", "Content-Length: 99999999")
    with closing(served.connect(served.head("POST", TASKS, *more))) as sender:
        status, _, data = answer(sender)
    assert (status, json.loads(data)["code"]) == (413, "too_large")


def test_a_head_that_does_not_end_is_refused(served: Served) -> None:
    with closing(served.connect(b"GET /api/v1/tasks HTTP/1.1\r\nHost: 127")) as sender:
        status, headers, data = answer(sender)
    assert (status, json.loads(data)["code"]) == (408, "too_slow")
    assert headers["content-type"] == "application/problem+json"


def test_a_head_without_end_is_refused(served: Served) -> None:
    line = b"X-Filler: " + b"x" * 8000 + b"\r\n"
    with closing(served.connect(b"GET / HTTP/1.1\r\n" + line * 9)) as sender:
        status, _, data = answer(sender)
    assert (status, json.loads(data)["code"]) == (431, "head_too_long")


def test_a_message_that_is_not_http_is_refused_by_a_problem(served: Served) -> None:
    with closing(served.connect(b"HELLO\r\n\r\n")) as sender:
        status, headers, _ = answer(sender)
    assert (status, headers["content-type"]) == (400, "application/problem+json")


def test_a_connection_serves_many_requests(served: Served) -> None:
    with closing(served.connect()) as sender:
        for _ in range(3):
            sender.sendall(served.head("GET", f"{TASKS}?limit=1"))
            assert answer(sender)[0] == 200


def test_a_long_answer_is_compressed(served: Served) -> None:
    titles = json.dumps([{"title": f"title {number}"} for number in range(5)]).encode()
    more = ("Content-Type: application/json", f"Content-Length: {len(titles)}")
    with closing(served.connect(served.head("POST", f"{TASKS}/bulk", *more) + titles)) as sender:
        assert answer(sender)[0] in (200, 201)
        sender.sendall(served.head("GET", TASKS, "Accept-Encoding: gzip"))
        _, headers, data = answer(sender)
    assert headers["content-encoding"] == "gzip"
    assert len(json.loads(gzip.decompress(data))["results"]) >= 5


def slow_heads(served: Served) -> tuple[bytes, ...]:
    """Return the beginnings of requests that never end, of strangers and of a known sender."""
    return (
        b"GET /healthz HTTP/1.1\r\nHost: 127",
        served.head("POST", TASKS, *CHUNKED, token="") + b"1\r\n{\r\n",
        served.head("POST", TASKS, *CHUNKED) + b"1\r\n{\r\n",
        served.head("POST", "/admin/login/", *CHUNKED, token="") + b"1\r\n{\r\n",
    )


@contextmanager
def slow_clients(served: Served, number: int) -> Iterator[None]:
    """Keep so many unfinished requests open."""
    heads = slow_heads(served)
    with ExitStack() as clients:
        for each in range(number):
            clients.enter_context(closing(served.connect(heads[each % len(heads)])))
        # All have begun, and the server has asked for their senders.
        seconds_of(served, 30)
        yield


def send_wrong_tokens(served: Served) -> None:
    """Send wrong tokens without a pause, until this process is ended."""
    head = served.head("GET", f"{TASKS}?limit=1", token="hop_wrong")
    with closing(served.connect()) as stranger:
        while True:
            stranger.sendall(head)
            assert answer(stranger)[0] in (401, 429)


@contextmanager
def flood(served: Served) -> Iterator[None]:
    """Let a stranger send wrong tokens, from a process of its own so as not to slow this one."""
    stranger = get_context("fork").Process(target=send_wrong_tokens, args=(served,))
    stranger.start()
    try:
        seconds_of(served, 5)  # the flood has begun
        yield
        assert stranger.is_alive()
    finally:
        stranger.kill()
        stranger.join()


TROUBLE = {
    "slow clients": lambda served: slow_clients(served, CLIENTS),
    "a flood of wrong tokens": flood,
}


@pytest.mark.storm
@pytest.mark.parametrize("trouble", TROUBLE)
def test_slow_clients_and_floods_stop_nobody(served: Served, trouble: str) -> None:
    alone: list[float] = []
    beside: list[float] = []
    # In turns, because other programs load the machine as well.
    for _ in range(WINDOWS):
        alone += seconds_of(served, ROUNDS)
        with TROUBLE[trouble](served):
            beside += seconds_of(served, ROUNDS)
    # A held thread would cost each request a second.
    assert median(beside) < 2 * median(alone) + 0.5
    if WINDOWS > 1:
        before, after = (sorted(times)[int(len(times) * 0.99) - 1] for times in (alone, beside))
        print(f"{trouble}: p99 alone {before * 1000:.1f} ms, beside {after * 1000:.1f} ms")
        assert after <= 2 * before
