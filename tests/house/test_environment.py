"""A setting with a wrong value is refused by its name, with what is allowed."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from hopper.environment import Environment


@pytest.mark.parametrize(
    ("text", "meant"), [("on", True), ("TRUE", True), ("1", True), ("off", False), ("no", False)]
)
def test_a_switch_takes_the_usual_words(
    monkeypatch: pytest.MonkeyPatch, text: str, meant: bool
) -> None:
    monkeypatch.setenv("HOPPER_AUTO_ROUTE", text)
    assert Environment().bool("HOPPER_AUTO_ROUTE", default=not meant) is meant


@pytest.mark.parametrize("text", ["banana", "2", "tru"])
def test_another_word_is_no_switch(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("HOPPER_AUTO_ROUTE", text)
    with pytest.raises(ImproperlyConfigured, match=f"HOPPER_AUTO_ROUTE is '{text}'; allowed: on"):
        Environment().bool("HOPPER_AUTO_ROUTE", default=False)


def test_an_unset_or_empty_switch_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPPER_DEBUG", "")
    assert Environment().bool("HOPPER_DEBUG", default=True) is True
    assert Environment().bool("HOPPER_NOT_SET_HERE", default=False) is False


def test_numbers_and_words_are_read_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPPER_CONN_MAX_AGE", "soon")
    with pytest.raises(ImproperlyConfigured, match="HOPPER_CONN_MAX_AGE is 'soon'"):
        Environment().int("HOPPER_CONN_MAX_AGE", default=60)
    monkeypatch.setenv("HOPPER_AUTH", "open")
    with pytest.raises(ImproperlyConfigured, match="HOPPER_AUTH is 'open'; allowed: on, off"):
        Environment().word("HOPPER_AUTH", "on", ("on", "off"))


@pytest.mark.parametrize("url", ["banana://u:secret@h/x", "secret"])
def test_another_engine_is_refused_without_the_url(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("HOPPER_DATABASE_URL", url)
    with pytest.raises(ImproperlyConfigured, match="HOPPER_DATABASE_URL: not the URL") as told:
        Environment().database("HOPPER_DATABASE_URL")
    assert "secret" not in str(told.value)
