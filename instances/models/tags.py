"""Lookups on JSON lists of words: `has_any_word`, `has_all_words`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

from hopper.database import engine

if TYPE_CHECKING:
    _Lookup = models.Lookup[Any]
else:  # not subscriptable at run time
    _Lookup = models.Lookup


class HasAnyWord(_Lookup):
    """True if the list holds at least one of the words."""

    lookup_name = "has_any_word"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """Return the engine's condition."""
        column, params = self.process_lhs(compiler, connection)
        sql, words = engine().any_word(column, "%s", self.rhs)
        return sql, (*params, words)


class HasAllWords(_Lookup):
    """True if the list holds all of the words."""

    lookup_name = "has_all_words"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """Return the engine's condition."""
        column, params = self.process_lhs(compiler, connection)
        sql, words = engine().all_words(column, "%s", self.rhs)
        return sql, (*params, words)


def register_tag_lookups() -> None:
    """Register both lookups for JSON fields."""
    models.JSONField.register_lookup(HasAnyWord)
    models.JSONField.register_lookup(HasAllWords)
