"""The page of the largest bodies has a row for each operation that takes a body."""

from __future__ import annotations

import re
from pathlib import Path

from django.conf import settings

from tests.openapi import schema

PAGE = Path(settings.BASE_DIR) / "docs" / "reference" / "limits.md"
ROW = re.compile(
    r"^\| `(\w+ /\S+)` \| [\d.]+ MB \| (\d+) \| (\d+) MB .*\| (\d+) \| (\d+) MB ", re.M
)
MOST_MEGABYTES = 100
"""A small multiple of the largest body, which has 10 MiB."""


def test_every_operation_with_a_body_has_its_row() -> None:
    taking = {
        f"{method.upper()} {path.removeprefix('/api/v1')}"
        for path, operations in schema()["paths"].items()
        for method, operation in operations.items()
        # PUT is the same as PATCH.
        if "requestBody" in operation and method != "put"
    }
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert {name for name, *_ in rows} == taking, "write it anew: python -m tests.bodies"


def test_every_legal_body_was_taken_and_every_illegal_one_refused_in_little_memory() -> None:
    for name, legal, memory, illegal, more in ROW.findall(PAGE.read_text(encoding="utf-8")):
        assert legal in ("200", "201"), name
        assert illegal in ("400", "413"), name
        assert max(int(memory), int(more)) < MOST_MEGABYTES, name
