"""The page of states, made from the tables: `python -m tests.operators.states_page` writes it."""

from __future__ import annotations

from pathlib import Path

from hopper.protocol import (
    ACTIONS,
    ASKED_FOR,
    CLI_WORDS,
    DELEGATION,
    EVENTS,
    INSTANCE,
    PARENTS,
    ROOTS,
    TASK,
    StateMachine,
)
from instances.allowances import ALLOWANCES, EXECUTING, ROUTING
from instances.choices import HopperScope

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "states.md"

HEAD = """\
# States

Three state machines and the tables that go with them. This page is made from the tables the
code itself asks (`hopper/protocol.py`, `instances/allowances.py`), and a test fails when it is not
current. To write it anew:

```console
$ .venv/bin/python -m tests.operators.states_page
```

The rules behind the tables are in [protocol.md](protocol.md), under the numbers in brackets."""


def page() -> str:
    """Return the text of the page."""
    parts = (
        HEAD,
        _machine("Instances (R2)", INSTANCE),
        "`terminated` is final. Asking for the state an instance is in changes nothing.",
        _actions(),
        _allowances(),
        _scopes(),
        _machine("Tasks (R19)", TASK),
        "`done`, `failed` and `cancelled` are the ends. The way out of them is a new epoch of the\n"
        "task (R18).",
        _words(),
        _machine("Delegations (R7)", DELEGATION),
        "Only `pending` and `accepted` are open; a task has at most one pending delegation.",
        _events(),
    )
    return "\n\n".join(parts) + "\n"


def _mermaid(machine: StateMachine) -> str:
    """Return the table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2"]
    for state, after in machine.transitions.items():
        lines += [f"    {state} --> {target}" for target in sorted(after)]
        if not after:
            lines.append(f"    {state} --> [*]")
    return "\n".join(lines)


def _machine(title: str, machine: StateMachine) -> str:
    rows = [
        (f"`{state}`", ", ".join(f"`{after}`" for after in machine.allowed(state)) or "nothing")
        for state in machine.transitions
    ]
    diagram = f"```mermaid\n{_mermaid(machine)}\n```"
    return f"## {title}\n\n{diagram}\n\n{_table(('from', 'may become'), rows)}"


def _actions() -> str:
    rows = [
        (
            f"`{name}`",
            ", ".join(f"`{state}`" for state in action.sources),
            ", ".join(f"`{state}`" for state in action.steps),
        )
        for name, action in ACTIONS.items()
    ]
    return (
        "### Actions (R2)\n\n"
        "Asked for where the instance is already at the last step, an action changes nothing.\n"
        "`restart` is `stop` and `start`.\n\n" + _table(("action", "from", "by way of"), rows)
    )


def _words() -> str:
    asked = {CLI_WORDS[status]: status for status in reversed(CLI_WORDS)} | ASKED_FOR
    rows = [
        (f"`{status}`", f"`{word}`", f"`{asked[word]}`" if asked[word] == status else "")
        for status, word in CLI_WORDS.items()
    ]
    return (
        "### The command line's words (R19)\n\n"
        "The command line reads both vocabularies, and writes its own.\n\n"
        + _table(("status", "word", "as input, asks for"), rows)
    )


def _allowances() -> str:
    head = ("effective status", "new task here", "offer", "accept", "route on", "claim", "finish")
    rows = [
        (
            f"`{status}`",
            _yes(row.create),
            row.offer,
            row.accept,
            _yes(row.route),
            _yes(row.claim),
            _yes(row.finish),
        )
        for status, row in ALLOWANCES.items()
    ]
    return (
        "### What a status allows (R3, R4)\n\n"
        "The effective status is the most restrictive of the instance's own and its ancestors'.\n"
        "`explicit` means: only where somebody asked for it by name.\n\n" + _table(head, rows)
    )


def _scopes() -> str:
    rows = [
        (
            f"`{scope}`",
            ", ".join(f"`{parent}`" for parent in sorted(PARENTS[scope])) or "none",
            _yes(scope in ROOTS),
            _yes(scope in ROUTING),
            _yes(scope in EXECUTING),
        )
        for scope in HopperScope.values
    ]
    head = ("scope", "parents", "root", "routes work down", "work may be claimed")
    return f"### Allowed parents of each scope (R1)\n\n{_table(head, rows)}"


def _events() -> str:
    rows = [(f"`{kind}`", words) for kind, words in EVENTS.items()]
    return (
        "## Events\n\n"
        "Each change writes an event of one of these kinds (`GET /events?kind=`). A webhook names\n"
        "kinds, and groups: `task.*`, `delegation.*`, `instance.*`.\n\n"
        + _table(("kind", "meaning"), rows)
    )


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
