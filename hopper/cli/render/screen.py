"""Output: unchanged into a pipe, escaped and coloured on a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from hopper.cli.transport import in_words

if TYPE_CHECKING:
    from rich.console import RenderableType

Column = str | Callable[[dict[str, Any]], object]

# Control characters, and characters that change the direction of writing.
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_LINE_ENDS = re.compile(r"[\t\n\x0b\x0c\r\x1c-\x1e\x85\u2028\u2029]")
_NO_TERMINAL_WIDTH = 100_000

_LEAST_FOLDED = 8  # characters a line of a folded column has at least
_WHOLE = ("ID", "Task", "Status", "Priority")  # columns that are never folded

COLORS = {
    "running": "green",
    "in_progress": "cyan",
    "completed": "green",
    "accepted": "cyan",
    "blocked": "yellow",
    "paused": "yellow",
    "pending": "yellow",
    "failed": "red",
    "error": "red",
    "rejected": "red",
    "terminated": "dim",
    "cancelled": "dim",
    "stopped": "dim",
}


def escaped(text: str) -> str:
    """Return the text with its control characters shown as `\\x1b` and the like."""
    return _UNSAFE.sub(lambda match: ascii(match.group())[1:-1], text)


def one_line(text: str) -> str:
    """Return the text with its tabs and line ends shown as `\\t`, `\\n` and the like.

    A title with a line end cannot look like a second row of a list.
    """
    return _LINE_ENDS.sub(lambda match: ascii(match.group())[1:-1], text)


class Screen:
    """One stream of output. Text of users is never markup. A pipe gets the text unchanged."""

    def __init__(
        self, out: TextIO, *, json: bool = False, quiet: bool = False, color: bool = True
    ) -> None:
        self.out = out
        self.json = json
        self.quiet = quiet
        self.tty = out.isatty()
        self.color = color and self.tty

    def safe(self, text: object) -> str:
        """Return the text as this stream may show it."""
        return escaped(str(text)) if self.tty else str(text)

    def cell(self, text: object) -> str:
        """Return the text as one cell or node may show it: safe, and on one line."""
        return one_line(self.safe(text))

    def line(self, text: object = "") -> None:
        """Write one line, or the lines that the text already has."""
        self.out.write(self.safe(text) + "\n")

    def lines(self, texts: Iterable[object]) -> None:
        """Write lines of text."""
        for text in texts:
            self.line(text)

    def done(self, line: str, id: str) -> None:
        """Write a success line, or with --quiet the id alone."""
        self.line(id if self.quiet else f"✓ {line}")

    def remark(self, text: str) -> None:
        """Write a line that --quiet leaves out."""
        if not self.quiet:
            self.line(text)

    def data(self, value: Any) -> None:
        """Write JSON: the bare object or array and nothing else."""
        encoding = (getattr(self.out, "encoding", None) or "utf-8").lower().replace("-", "")
        self.out.write(json.dumps(value, indent=2, ensure_ascii=encoding != "utf8") + "\n")

    def fields(self, pairs: Iterable[tuple[str, object]]) -> None:
        """Write `Name: value` lines, leaving out what is empty."""
        for name, value in pairs:
            if value not in (None, "", [], {}):
                self.line(f"{name}: {value}")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Write rows under their columns: a Rich table on a terminal, plain lines elsewhere."""
        cells = [[self.cell("" if cell is None else cell) for cell in row] for row in rows]
        if self.tty:
            self._rich_table(columns, cells)
            return
        widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
        for row in [list(columns), *cells]:
            padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.out.write("  ".join(padded).rstrip() + "\n")

    def rows(
        self, rows: Sequence[dict[str, Any]], columns: Mapping[str, Column], *, none: str
    ) -> None:
        """Write records as a table, a column for each key or function; with --quiet ids alone."""
        if self.quiet:
            self.lines(row["id"] for row in rows)
        elif not rows:
            self.line(none)
        else:
            cells = [
                [row.get(cell) if isinstance(cell, str) else cell(row) for cell in columns.values()]
                for row in rows
            ]
            self.table(list(columns), cells)

    def entries(
        self,
        rows: Sequence[dict[str, Any]],
        text: Callable[[dict[str, Any]], Iterable[str]],
        *,
        none: str,
    ) -> None:
        """Write records as lines of text, one record after the other; with --quiet ids alone."""
        if self.quiet:
            self.lines(row["id"] for row in rows)
        elif not rows:
            self.line(none)
        else:
            self.lines(line for row in rows for line in text(row))

    def _rich_table(self, columns: Sequence[str], cells: list[list[str]]) -> None:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold", no_wrap=column in _WHOLE)
        for row in cells:
            table.add_row(*(Text(cell, style=COLORS.get(cell, "")) for cell in row))
        self.draw(table, least=_least_width(columns, cells))

    def draw(self, renderable: RenderableType, *, least: int = 0) -> None:
        """Write a renderable of Rich. Without a terminal lines are not wrapped.

        On a terminal of fewer than `least` columns it is drawn that wide, and the terminal wraps.
        """
        from rich.console import Console

        console = Console(
            file=self.out,
            color_system="auto" if self.color else None,
            width=None if self.tty else _NO_TERMINAL_WIDTH,
            markup=False,
            highlight=False,
            emoji=False,
        )
        console.width = max(console.width, least)
        console.print(renderable, crop=False, overflow="ignore")


def _least_width(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> int:
    """Return the width that shows the unfoldable columns whole."""
    widths = (
        max(map(len, column)) if name in _WHOLE else _LEAST_FOLDED
        for name, *column in zip(columns, columns, *cells, strict=True)
    )
    return sum(width + 2 for width in widths)


def told(words: str) -> Callable[[dict[str, Any], Any, Screen], None]:
    """Return what shows one line of success. The names in braces are keys of the result."""
    return lambda data, args, screen: screen.done(words.format_map(data), data["id"])


def show_any(data: Any, args: Any, screen: Screen) -> None:
    """Show an object as lines of `name: value`, a list as one line an entry."""
    if isinstance(data, dict):
        screen.fields((key.replace("_", " ").capitalize(), in_words(data[key])) for key in data)
    elif isinstance(data, list):
        screen.lines(in_words(row) for row in data)
    elif data is not None:
        screen.line(data)
