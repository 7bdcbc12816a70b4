"""Signals from `instances` to the apps above. The receivers are in `delegation`.

`routing_due` is sent after commit, and the sweep repeats it from the stored `route_due`. The others
are sent inside the transaction: a failing receiver rolls it back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Generic, ParamSpec

from django.dispatch import Signal

from hopper.actors import Actor
from hopper.database.functions import Function

if TYPE_CHECKING:
    from instances.models import HopperInstance, Task

P = ParamSpec("P")


class TypedSignal(Signal, Generic[P]):
    """A signal with the keyword arguments of the function from which it is made.

    The type checker compares senders (`announce`) and receivers (`receiver`) with that function.
    """

    def __init__(self, arguments: Callable[P, None]) -> None:
        super().__init__()
        self.__doc__ = arguments.__doc__

    def announce(self, *args: P.args, **named: P.kwargs) -> None:
        """Call every receiver. An exception of a receiver reaches the sender."""
        self.send(None, **named)

    def receiver(self, function: Callable[P, None]) -> Callable[P, None]:
        """Connect a function that takes the same arguments, and return it."""
        call: Callable[..., None] = function
        self.connect(lambda signal, sender, **named: call(**named), weak=False)
        return function


@TypedSignal
def routing_due(*, task: Task, actor: Actor) -> None:
    """A task is due for placing, given as it was committed. Announced after the commit."""


@TypedSignal
def tasks_finished(*, tasks: Sequence[Task], actor: Actor, now: datetime) -> None:
    """Tasks have ended, a parent before its children. The tasks and their roots are locked."""


@TypedSignal
def offer_overtaken(*, task: Task, reason: str, actor: Actor, now: datetime) -> None:
    """A change of a task ends its pending offer: a claim, a block or an edit.

    The task and its root are locked.
    """


@TypedSignal
def task_reopened(*, task: Task, ended_at: datetime | None, actor: Actor, now: datetime) -> None:
    """A finished task is pending again. The task, its root and the tree are locked."""


@TypedSignal
def instance_runs(*, instance_id: str, actor: Actor) -> None:
    """An instance runs now, or its config changed. Waiting offers and tasks may go on."""


@TypedSignal
def instance_stops(
    *, instance_id: str, evacuate: bool, leased: Collection[str], actor: Actor, now: datetime
) -> None:
    """An instance is stopping or stopped, its row locked.

    `evacuate` sends its unstarted tasks up. `leased` are the tasks whose leases will be revoked.
    """


@TypedSignal
def instance_fails(*, instance_id: str, actor: Actor, now: datetime) -> None:
    """An instance is in error, its row locked."""


@TypedSignal
def instances_end(*, instance_ids: Collection[str], actor: Actor, now: datetime) -> None:
    """Instances are terminated, an instance with all below it; the tree and the rows are locked."""


@TypedSignal
def instance_moves(*, instance: HopperInstance) -> None:
    """An instance is about to get another parent; the tree is locked. A receiver may refuse."""


plain_ends: list[Callable[[], Function]] = []
"""The receivers' part of `tasks_finished` where the database itself completes a plain task.

Each is a function of the task's id, its result, the name of the actor, and the moment. It returns
the ids of the instances on the task's path.
"""

rows_compared = Signal()
"""A preview reads rows before and after its action. Sent with `task_ids`; a receiver
returns its own rows of these tasks, {kind: {id: fields}}; inside."""
