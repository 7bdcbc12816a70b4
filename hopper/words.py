"""The comparison of names, tags and capabilities. Texts are stored and shown as typed (R25).

Does not import Django: the command line compares names too.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Protocol, TypeVar


class Named(Protocol):
    """An instance as a word may name it: by its id, or by the key of its name."""

    @property
    def id(self) -> str: ...

    @property
    def name_key(self) -> str: ...


AnyNamed = TypeVar("AnyNamed", bound=Named)

CLASH = "\n"
"""Stands in the key of a name that an older sibling has already. No key of a text contains it."""


def key_of(text: str) -> str:
    """Return the form in which a text is compared: two texts are one word if their keys are equal.

    A key has no upper case, no format characters, no blanks at its ends, and one space for other
    blanks; it is in NFC. The key of a text without a visible character is "".
    """
    if text.isascii():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFD", plain(text)).casefold()
    return " ".join(unicodedata.normalize("NFC", folded).split())


def plain(text: str) -> str:
    """Return the text in NFC and without format characters, such as U+200B; the case stays."""
    if text.isascii():
        return text
    formats = (ord(one) for one in set(text) if unicodedata.category(one) == "Cf")
    return unicodedata.normalize("NFC", text.translate(dict.fromkeys(formats)))


def keys_of(words: Iterable[str]) -> list[str]:
    """Return the keys of words, sorted, each once."""
    return sorted({key_of(word) for word in words})


def one_of_each(words: Iterable[str]) -> list[str]:
    """Return the words as typed, of several with one key only the first."""
    found: dict[str, str] = {}
    for word in words:
        found.setdefault(key_of(word), word)
    return list(found.values())


def clashing_key(name: str, instance_id: str) -> str:
    """Return the key of an instance whose name an older sibling has already."""
    return f"{key_of(name)}{CLASH}{instance_id}"


def bearers(word: str, those: Iterable[AnyNamed]) -> list[AnyNamed]:
    """Return the instances that a word names (R25): one, none, or several if it is ambiguous.

    A text that is exactly an id names that instance, and it is ambiguous if another has it as name.
    Any other text names an instance by its name, or by its id where nothing has that name.
    """
    key, found = key_of(word), list(those)
    if not key:
        return []
    exact = [one for one in found if one.id == word]
    by_name = [one for one in found if one.name_key == key and one not in exact]
    return exact + by_name or [one for one in found if one.id == key]
