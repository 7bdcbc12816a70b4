"""Ids of one process strictly ascend, whatever its clock does."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from hopper.ids import new_id


def test_ids_made_in_the_same_millisecond_ascend() -> None:
    made = [new_id("task") for _ in range(5000)]
    assert made == sorted(set(made))


def test_each_of_eight_threads_sees_its_ids_ascend_and_none_twice() -> None:
    with ThreadPoolExecutor(8) as pool:
        of_threads = list(pool.map(lambda _: [new_id("task") for _ in range(2000)], range(8)))
    made = [one for of_thread in of_threads for one in of_thread]
    assert len(set(made)) == len(made)
    assert all(of_thread == sorted(of_thread) for of_thread in of_threads)


def test_ids_ascend_when_the_clock_steps_back_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    before = new_id("task")
    an_hour_ago = time.time_ns() - 3600 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: an_hour_ago)
    made = [before, *(new_id("task") for _ in range(1000))]
    assert made == sorted(set(made))


def test_an_id_keeps_its_form(monkeypatch: pytest.MonkeyPatch) -> None:
    # Another test may have set the clock of this process ahead, and ids never go back.
    monkeypatch.setattr("hopper.ids._last", 0)
    kind, _, number = new_id("task").partition("-")
    assert kind == "task"
    assert len(number) == 24
    assert int(number, 16) >> 48 == pytest.approx(time.time() * 1000, abs=5000)
