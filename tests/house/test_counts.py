"""A number of one has a noun in the singular, any other number one in the plural."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hopper.counts import counted

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 tasks"), (1, "1 task"), (2, "2 tasks"), (1200, "1,200 tasks")],
)
def test_a_number_stands_with_its_noun(number: int, words: str) -> None:
    assert counted(number, "task") == words


def test_the_verb_follows_the_number() -> None:
    assert counted(1, "slot", "is", "are") == "1 slot is"
    assert counted(2, "worker process", "is", "are") == "2 worker processes are"


def test_no_message_leaves_the_plural_open() -> None:
    rooms = ("hopper", "instances", "scopes", "delegation")
    files = [file for room in rooms for file in (ROOT / room).rglob("*")]
    texts = [file for file in files if file.suffix in (".py", ".html", ".js")]
    found = [file.name for file in texts if re.search(r"\w\(s\)", file.read_text())]
    assert found == []
