"""A change that is made only if a row still is as its writer saw it (`If-Match`, admin forms).

The check runs where the row is locked for the change, so nothing comes between check and change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from django.db.models import Model


@dataclass
class _Condition:
    model: type[Model]
    pk: str
    check: Callable[[], None]
    met: bool = False


_present: ContextVar[_Condition | None] = ContextVar("condition", default=None)


@contextmanager
def on_condition(model: type[Model], pk: str, check: Callable[[], None]) -> Iterator[None]:
    """Call `check` once, when a service has locked the row. An error of `check` undoes all."""
    token = _present.set(_Condition(model, pk, check))
    try:
        yield
    finally:
        _present.reset(token)


def has_condition(model: type[Model], pk: str) -> bool:
    """Return whether the present change has a condition on this row."""
    condition = _present.get()
    return condition is not None and (condition.model, condition.pk) == (model, pk)


def require_condition(model: type[Model], pk: str) -> None:
    """Judge a locked row, if the present change has a condition on it and was not judged yet."""
    condition = _present.get()
    if condition is None or condition.met or (condition.model, condition.pk) != (model, pk):
        return
    condition.check()
    condition.met = True
