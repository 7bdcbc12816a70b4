"""The outputs that the README and the tutorial show are those that their commands print."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shell import Shell

pytestmark = [pytest.mark.slow, pytest.mark.unmeasured]

TOP = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ ", re.MULTILINE)
ID = r"(?:task|del)-[0-9a-f]{10,}"
VARIES = {
    "id": ID,
    "time": r"\d{4}-\d\d-\d\d \d\d:\d\d(?= UTC)",
    "seconds": r"\d+\.\d+(?= s\b)",
    "rest": r"^\.\.\.\n",
}
ANY = re.compile("|".join(f"(?P<{kind}>{form})" for kind, form in VARIES.items()), re.MULTILINE)


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_each_command_prints_what_its_page_shows(shell: Shell, page: str) -> None:
    ids: dict[str, str] = {}
    compared = 0
    for command, shown in steps(TOP / page):
        printed = shell.bash(f"{with_ids(command, ids)} 2>&1")
        if created := re.search(rf"Created task: ({ID})", printed):
            ids["TASK"] = created[1]
        wanted, names = pattern(with_ids(shown, ids))
        if shown:
            found = re.fullmatch(wanted, printed)
            assert found, f"$ {command}\n{printed}"
            ids |= dict(zip(names, found.groups(), strict=True))
            compared += 1
    assert compared >= 5


def steps(page: Path) -> Iterator[tuple[str, str]]:
    """Yield each `hopper` command of a page that ends by itself, and the output below it."""
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        for part in COMMAND.split(block)[1:]:
            command, _, shown = part.partition("\n")
            if command.startswith("hopper ") and command != "hopper serve":
                yield command, shown


def with_ids(text: str, ids: dict[str, str]) -> str:
    """Return a text of a page with the ids of this run in the place of those shown."""
    return re.sub(rf"\bTASK\b|{ID}", lambda found: ids.get(found[0], found[0]), text)


def pattern(shown: str) -> tuple[str, list[str]]:
    """Return the pattern of an output, in which ids are groups, and the ids as they are shown.

    Times and durations differ from run to run. A line `...` stands for any lines.
    """
    parts, names, end = [], [], 0
    for found in ANY.finditer(shown):
        parts.append(re.escape(shown[end : found.start()]))
        end = found.end()
        kind = str(found.lastgroup)
        names += [found[0]] * (kind == "id")
        form = r"(?:.*\n)*" if kind == "rest" else VARIES[kind]
        parts.append(f"({form})" if kind == "id" else form)
    return "".join([*parts, re.escape(shown[end:])]), names
