"""Every command that the documentation shows at a prompt is one that `hopper` understands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from hopper.cli.parser import build_parser

TOP = Path(__file__).resolve().parents[2]
PAGES = [TOP / "README.md", *sorted((TOP / "docs").rglob("*.md"))]
COMMAND = re.compile(r"^\$ hopper ((?:[^\n\\]|\\\n)*)$", re.MULTILINE)


def commands(page: Path) -> list[str]:
    """Return the commands of a page without comments, pipes and what stands for more."""
    found = COMMAND.findall(page.read_text(encoding="utf-8"))
    lines = [re.split(r"\s[#|>&]", line.replace("\\\n", " "))[0] for line in found]
    return [line for line in lines if "…" not in line and "..." not in line]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_the_parser_knows_each_documented_command(page: Path) -> None:
    for line in commands(page):
        build_parser().parse_args(shlex.split(line))


def test_the_documents_have_commands() -> None:
    assert sum(len(commands(page)) for page in PAGES) > 30
