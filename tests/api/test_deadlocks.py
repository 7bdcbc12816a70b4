"""Should the database ever make a request the victim of a deadlock, its caller does not notice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.db import OperationalError

from hopper.rest import idempotency
from instances.api import task_views
from instances.models import Task

if TYPE_CHECKING:
    from instances.models import HopperInstance
    from tests.api.conftest import Caller


class Victim(Exception):
    """The driver's error for the victim of a deadlock."""

    sqlstate = "40P01"


def deadlocked(times: int, known: Any) -> Any:
    """Return `known` as it is after it has failed so many times."""
    left = [times]

    def action(*args: Any, **kwargs: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise OperationalError("deadlock detected") from Victim()
        return known(*args, **kwargs)

    return action


@pytest.mark.parametrize("headers", [{}, {"idempotency-key": "k"}], ids=["keyless", "keyed"])
def test_a_post_is_carried_out_again(
    ada: Caller,
    tree: dict[str, HopperInstance],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    headers: dict[str, str],
) -> None:
    monkeypatch.setattr(task_views, "create_task", deadlocked(1, task_views.create_task))
    ada.tell("/tasks", {"title": "x"}, 201, **headers)
    assert Task.objects.count() == 1
    assert "deadlock, tried again" in caplog.text


def test_an_edit_is_carried_out_again(
    ada: Caller, tree: dict[str, HopperInstance], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = ada.tell("/tasks", {"title": "x"}, 201)
    monkeypatch.setattr(task_views, "update_task", deadlocked(2, task_views.update_task))
    answer = ada.call("PATCH", f"/tasks/{task['id']}", {"title": "y"})
    assert (answer.status_code, answer.json()["title"]) == (200, "y")


def test_only_a_deadlock_is_repeated() -> None:
    calls = []

    def broken() -> None:
        calls.append(1)
        raise OperationalError("the server went away")

    with pytest.raises(OperationalError):
        idempotency.unless_deadlocked(broken)
    assert calls == [1]
