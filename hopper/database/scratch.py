"""A database in memory that takes the place of the configured one for a while."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.backends.sqlite3.base import DatabaseWrapper


@contextmanager
def scratch(rooms: Iterable[str]) -> Iterator[None]:
    """Give this thread an empty database with the tables of these apps.

    The database does not look at foreign keys: rows may name rows that are not there.
    """
    usual = connections[DEFAULT_DB_ALIAS]
    own = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "OPTIONS": {}}
    connections[DEFAULT_DB_ALIAS] = DatabaseWrapper({**usual.settings_dict, **own})
    try:
        with connection.schema_editor() as editor:
            for room in rooms:
                for model in apps.get_app_config(room).get_models():
                    editor.create_model(model)
        connection.disable_constraint_checking()
        yield
    finally:
        connection.close()
        connections[DEFAULT_DB_ALIAS] = usual
