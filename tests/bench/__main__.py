"""Measure: `make bench` prints ratios on a throw-away PostgreSQL, beside many finished tasks.

Modes that are compared run in alternating windows, and a figure is the least, the median and the
greatest of the ratios of neighbouring windows. Procrastinate is measured beside Hopper where it is
installed (`pip install procrastinate`). `python -m tests.bench decisions --json figures.json`
measures one part, on the database that HOPPER_DATABASE_URL names.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from tests.bench import archiving, beside, claims, pages, placing, trees, webhooks
from tests.bench.figures import FIGURES, SIZE, cursor, say

PARTS = {
    part.__name__: part
    for part in (
        claims.claims,
        claims.together_with_next,
        claims.spread,
        claims.growth,
        claims.claims_behind,
        trees.accepts,
        trees.decisions,
        trees.appends,
        webhooks.completions_beside_webhooks,
        archiving.archive,
        placing.placing,
        placing.chain,
        beside.beside_previews,
        pages.pages,
        pages.pages_of_one_age,
    )
}

_options = argparse.ArgumentParser(description=__doc__, prog="python -m tests.bench")
_options.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
_options.add_argument("--old", type=int, default=200_000, help="finished tasks before the start")
_options.add_argument("--processes", type=int, nargs="+", default=[1, 4, 8])
_options.add_argument("--rounds", type=int, default=5, help="windows of each mode")
_options.add_argument("--seconds", type=float, default=1.5, help="length of a window")
_options.add_argument("--against", type=Path, help="another checkout, for `placing`")
_options.add_argument("--json", type=Path, help="file for the figures")


def main() -> None:
    """Print every figure, one a line; write them as JSON on request."""
    _options.parse_args(namespace=SIZE)
    if unknown := set(SIZE.parts) - set(PARTS):
        _options.error(f"there is no part {', '.join(unknown)}: choose from {', '.join(PARTS)}")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hopper.settings")
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    say("machine", f"{os.cpu_count()} cores, {durability()}")
    say("windows", f"{SIZE.rounds} of {SIZE.seconds:g} s a mode, {SIZE.old} finished tasks")
    for part in SIZE.parts or PARTS:
        PARTS[part]()
    if SIZE.json:
        SIZE.json.write_text(json.dumps(FIGURES, indent=1) + "\n")


def durability() -> str:
    """Return whether a commit waits for the disk."""
    with cursor() as run:
        run.execute("SELECT current_setting('fsync'), current_setting('synchronous_commit')")
        return "durable" if run.fetchone() == ("on", "on") else "not durable"


if __name__ == "__main__":
    main()
