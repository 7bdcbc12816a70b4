"""Lookups on JSON lists of words that both engines answer: `has_any_word`, `has_all_words`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    _Lookup = models.Lookup[Any]
else:  # not subscriptable at run time
    _Lookup = models.Lookup


class _Words(_Lookup):
    """Compare a JSON list with given words by membership."""

    prepare_rhs = False
    operator = ""
    joint = ""

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        """Return the jsonb form, which a GIN index can serve."""
        lhs, params = self.process_lhs(compiler, connection)
        return f"{lhs} {self.operator} %s", [*params, list(self.rhs)]

    def as_sqlite(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        """Return one membership test a word."""
        lhs, params = self.process_lhs(compiler, connection)
        test = f"EXISTS (SELECT 1 FROM json_each({lhs}) WHERE value = %s)"  # noqa: S608
        words = list(self.rhs)
        sql = f" {self.joint} ".join([test] * len(words)) or "1"
        return f"({sql})", [value for word in words for value in (*params, word)]


class HasAnyWord(_Words):
    """True where the list holds at least one of the words."""

    lookup_name = "has_any_word"
    operator = "?|"
    joint = "OR"


class HasAllWords(_Words):
    """True where the list holds every one of the words."""

    lookup_name = "has_all_words"
    operator = "?&"
    joint = "AND"


def register_tag_lookups() -> None:
    """Make both lookups known to JSON fields."""
    models.JSONField.register_lookup(HasAnyWord)
    models.JSONField.register_lookup(HasAllWords)
