"""The product's own source files, for the tests that read them."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("hopper", "instances", "scopes", "delegation")


@dataclass(frozen=True)
class Source:
    """One module: its path below the root, its text and its syntax tree."""

    path: str
    text: str
    tree: ast.Module


@cache
def sources() -> tuple[Source, ...]:
    """Return every module of the four rooms, migrations left out."""
    found = []
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            path = file.relative_to(ROOT).as_posix()
            if "/migrations/" not in path:
                text = file.read_text(encoding="utf-8")
                found.append(Source(path, text, ast.parse(text, path)))
    return tuple(found)


def where(wrong: Callable[[Source], object]) -> dict[str, object]:
    """Return what is wrong in each module, by path; {} where nothing is.

    One test looks at all modules: a test for each would cost more than the look.
    """
    found = {source.path: wrong(source) for source in sources()}
    return {path: faults for path, faults in found.items() if faults}
