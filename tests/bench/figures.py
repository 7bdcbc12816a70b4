"""What the parts of the bench share: the sizes, the figures, and the database's housekeeping."""

from __future__ import annotations

import argparse
import sys
from statistics import median
from typing import Any

SIZE = argparse.Namespace()
"""The options of this run."""
FIGURES: list[dict[str, Any]] = []


def say(what: str, figure: object, **values: Any) -> None:
    """Print one figure, and keep it for the file."""
    FIGURES.append({"what": what, "figure": figure, **values})
    sys.stdout.write(f"{what:<52} {figure}\n")
    sys.stdout.flush()


def compare(
    what: str, rates: dict[str, list[float]], ours: str, theirs: str, target: float | None = None
) -> None:
    """Print the ratios of neighbouring windows, and both rates by second."""
    pairs = zip(rates[ours], rates[theirs], strict=True)
    ratios = sorted(mine / other for mine, other in pairs if other)
    if not ratios:
        say(what, "no figure: nothing was done")
        return
    low, middle, high = ratios[0], median(ratios), ratios[-1]
    rest = f"of {median(rates[theirs]):.0f}/s" + (f", target {target}x" if target else "")
    figure = f"{low:.2f} {middle:.2f} {high:.2f}x  ({median(rates[ours]):.0f}/s {rest})"
    say(what, figure, ratios=[low, middle, high], rates=rates, target=target)


def percentiles(figures: list[float]) -> str:
    """Return the median and the 99th percentile."""
    ordered = sorted(figures)
    return f"{median(ordered):.1f} {ordered[int(len(ordered) * 0.99)]:.1f}  ({len(ordered)})"


def analyse(*, vacuum: bool = False) -> None:
    """Let the database count its rows, as it does by itself within a minute."""
    with cursor() as run:
        run.execute("VACUUM ANALYZE" if vacuum else "ANALYZE")


def cursor() -> Any:
    """Return a cursor of the database that is measured."""
    from django.db import connection

    return connection.cursor()
