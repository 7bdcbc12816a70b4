"""Two texts are one word if case, form of the letters and invisible characters alone differ."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest

from hopper.words import bearers, key_of, keys_of, one_of_each, plain
from tests.spellings import CAFE, FIVE


@dataclass(frozen=True)
class Place:
    id: str
    name: str

    @property
    def name_key(self) -> str:
        return key_of(self.name)


def test_the_five_spellings_have_one_key() -> None:
    assert keys_of(FIVE) == ["café"]
    assert one_of_each(FIVE) == [CAFE]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Straße", "STRASSE"),
        ("two  words", "two\u00a0words"),
        ("two\nwords", "Two Words"),
        ("e\u200b\u0301", "é"),
        ("Å", "\u212b"),
    ],
)
def test_two_spellings_are_one_word(one: str, other: str) -> None:
    assert key_of(one) == key_of(other)


@pytest.mark.parametrize(
    ("one", "other"), [("cafe", "café"), ("web1", "web2"), ("ab", "a b"), ("web-api", "web_api")]
)
def test_two_words_stay_two(one: str, other: str) -> None:
    assert key_of(one) != key_of(other)


@pytest.mark.parametrize("text", ["", " ", "\u200b", "\ufeff \u200d\n"])
def test_a_text_without_visible_characters_has_no_key(text: str) -> None:
    assert key_of(text) == ""


@pytest.mark.unmeasured  # A million calls of lines that other tests run.
def test_the_key_of_a_key_is_the_key() -> None:
    letters = (chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    assert all(key_of(key := key_of(letter)) == key for letter in letters)


def test_plain_text_keeps_its_case_and_its_blanks() -> None:
    assert plain("Cafe\u0301 \u200bA\n") == "Café A\n"


SITE, WEB = Place("web", "Site"), Place("web-2", "Web")


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("web-2", [WEB]),
        ("Web-2", [WEB]),
        ("site", [SITE]),
        ("Web", [WEB]),
        ("web", [SITE, WEB]),
        ("nothing", []),
        ("\u200b", []),
    ],
)
def test_an_id_wins_only_as_it_is_and_never_over_another_name(
    word: str, found: list[Place]
) -> None:
    assert bearers(word, [SITE, WEB]) == found


def test_an_id_in_other_letters_names_where_no_name_does() -> None:
    assert bearers("WEB", [SITE]) == [SITE]
