"""The list of test scenarios, made from the tests: `python -m tests.operators.scenarios_page`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "test-scenarios.md"

HEAD = """\
# Test scenarios

`make test` runs everything on SQLite, and then what asks a database on a PostgreSQL that it starts
itself. One database, one folder, one file:

```console
$ HOPPER_TEST_DATABASE=postgres .venv/bin/python -m pytest tests/flows -q
```

`make storm` runs the concurrency tests at full length, `make soak` a whole site for ten minutes
while its processes are killed. `make mutations` puts faults into a copy of the code, one at a time,
and fails unless the tests notice each. Tests that change state end with
the audit of all invariants. The names of the tests are sentences; this list, made from them by
`.venv/bin/python -m tests.operators.scenarios_page`, says what each file shows."""


def page() -> str:
    """Return the text of the page."""
    parts = [HEAD]
    for folder in sorted(path for path in (ROOT / "tests").iterdir() if path.is_dir()):
        rows = [
            f"| [{file.name}](../{file.relative_to(ROOT)}) | {count} | {words} |"
            for file, count, words in _files(folder)
        ]
        if rows:
            head = ("| file | tests | what it shows |", "| --- | --- | --- |")
            parts.append(f"## {folder.name}\n\n" + "\n".join((*head, *rows)))
    return "\n\n".join(parts) + "\n"


def _files(folder: Path) -> Iterator[tuple[Path, int, str]]:
    for file in sorted(folder.rglob("test_*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        tests = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        ]
        yield file, len(tests), (ast.get_docstring(tree) or "").partition("\n")[0]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
