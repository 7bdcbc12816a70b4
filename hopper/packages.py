"""The four packages of Hopper: none of another distribution may hide one of them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

NAMES = ("instances", "scopes", "delegation")


def hidden_by() -> str:
    """Return which package of another distribution hides one of Hopper's, in words; empty if none.

    The names `instances`, `scopes` and `delegation` are common ones.
    """
    home = Path(__file__).resolve().parents[1]
    for name in NAMES:
        spec = find_spec(name)
        found = Path(spec.origin).resolve().parents[1] if spec and spec.origin else None
        if found != home:
            return (
                f"Hopper's package `{name}` lies in {home}, but Python finds another one in "
                f"{found}. Install Hopper into an environment of its own."
            )
    return ""
