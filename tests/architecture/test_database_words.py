"""Only `hopper/database` knows which database this is."""

from __future__ import annotations

import ast

from tests.architecture.sources import Source, where

SEAM = "hopper/database/"
ASKING = {"vendor", "as_sqlite", "as_postgresql"}
ENGINE = "django.db.backends."
NAMES_THE_ENGINE = {"hopper/embedded.py"}
"""The embedded store is SQLite by definition; settings and checks take the name from here."""


def _asked(tree: ast.Module) -> set[str]:
    """Return what a module says to tell one database from another."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) | ast.FunctionDef(name=name) if name in ASKING:
                found.add(name)
            case ast.Constant(value=str(text)) if text in ASKING or text.startswith(ENGINE):
                found.add(text)
    return found


def test_no_room_asks_which_database_this_is() -> None:
    def asked(source: Source) -> set[str]:
        may = source.path.startswith(SEAM) or source.path in NAMES_THE_ENGINE
        return set() if may else _asked(source.tree)

    assert where(asked) == {}


def test_a_question_would_be_found() -> None:
    tree = ast.parse(
        "getattr(connection, 'vendor'); connection.vendor\ndef as_sqlite(): ...\n"
        "x = 'django.db.backends.sqlite3'"
    )
    assert _asked(tree) == {"vendor", "as_sqlite", "django.db.backends.sqlite3"}
