"""The transitions of the model as one table: each has a guard and an effect among the rules.

The step `accept` may be taken where `Rules.may_accept` says so, and does what `Rules.accept` does:
it returns the state that follows, or a list of those that may.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.protocol.living import Rules
    from tests.protocol.state import State

SYSTEM = "system"
PEOPLE = "people"
TREE = "tree"
FATE = "fate"

TASK, CHILD, TARGET, INSTANCE = "task", "child", "target", "instance"
THOUGHT, QUESTION = "thought", "question"


class Step(NamedTuple):
    """One row: the name, who takes it, and over what its arguments run.

    The system takes its steps by itself, after a commit or in the sweep, and nobody must rely on
    anything else happening. `only` names words for the last argument.
    """

    name: str
    by: str
    over: tuple[str, ...]
    only: tuple[Any, ...] = ()


STEPS = (
    Step("decide", SYSTEM, (TASK,)),
    Step("act", SYSTEM, (THOUGHT,)),
    Step("crash", FATE, (THOUGHT,)),
    Step("answer", SYSTEM, (TASK,)),
    Step("expire", SYSTEM, (TASK,)),
    Step("withdraw_hopeless", SYSTEM, (TASK,)),
    Step("lose_lease", SYSTEM, (TASK,)),
    Step("replace", SYSTEM, (TASK,)),
    Step("time_out", SYSTEM, (TASK,)),
    Step("settle", SYSTEM, (INSTANCE,)),
    Step("evacuate", SYSTEM, (INSTANCE,)),
    Step("delegate", PEOPLE, (TASK, TARGET), (False, True)),
    Step("accept", PEOPLE, (TASK,)),
    Step("reject", PEOPLE, (TASK,)),
    Step("withdraw", PEOPLE, (TASK,)),
    Step("escalate", PEOPLE, (TASK,)),
    Step("escalate_with_words", PEOPLE, (TASK,)),
    Step("ask", PEOPLE, (TASK,), ("", "default", "raise")),
    Step("answer_question", PEOPLE, (TASK, QUESTION), (True, False)),
    Step("reassign", PEOPLE, (TASK, TARGET), (False, True)),
    Step("reroute", PEOPLE, (TASK,)),
    Step("claim", PEOPLE, (TASK,)),
    Step("start", PEOPLE, (TASK,)),
    Step("complete", PEOPLE, (TASK,)),
    Step("fail", PEOPLE, (TASK,), (True, False)),
    Step("release", PEOPLE, (TASK,)),
    Step("take", PEOPLE, (TASK,)),
    Step("block", PEOPLE, (TASK,)),
    Step("unblock", PEOPLE, (TASK,)),
    Step("decompose", PEOPLE, (TASK, CHILD)),
    Step("cancel", PEOPLE, (TASK,)),
    Step("reopen", PEOPLE, (TASK,)),
    Step("start_instance", TREE, (INSTANCE,)),
    Step("resume_instance", TREE, (INSTANCE,)),
    Step("recover_instance", TREE, (INSTANCE,)),
    Step("pause_instance", TREE, (INSTANCE,)),
    Step("fail_instance", TREE, (INSTANCE,)),
    Step("stop_instance", TREE, (INSTANCE,), ("plain", "force", "evacuate")),
    Step("terminate_instance", TREE, (INSTANCE,)),
)
"""All of them; a walk may leave some out, and may let only some instances change."""


class Bound(NamedTuple):
    """A step with its arguments, ready to be asked and taken."""

    name: str
    by: str
    arguments: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.arguments))})"


def bind(
    rules: Rules, tasks: int, *, moving: Sequence[str], without: Sequence[str] = ()
) -> list[Bound]:
    """Return every step with every choice of its arguments; `moving` are instances that change."""
    ranges: Mapping[str, Sequence[Any]] = {
        TASK: range(tasks),
        CHILD: range(1, tasks),
        TARGET: rules.tree.names[1:],
        INSTANCE: moving,
        THOUGHT: range(rules.most_thoughts),
        QUESTION: range(1, rules.most_questions + 1),
    }
    return [
        Bound(step.name, step.by, (*arguments, *last))
        for step in STEPS
        if step.name not in without
        for arguments in product(*(ranges[kind] for kind in step.over))
        for last in ([(word,) for word in step.only] or [()])
    ]


def following(rules: Rules, state: State, steps: Sequence[Bound]) -> Iterator[tuple[Bound, State]]:
    """Yield each step that may be taken now, with each state that may follow."""
    for step in steps:
        if getattr(rules, f"may_{step.name}")(state, *step.arguments):
            effect = getattr(rules, step.name)(state, *step.arguments)
            for after in effect if isinstance(effect, list) else (effect,):
                yield step, after
