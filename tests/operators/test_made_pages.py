"""The pages that are made from the code say what the code says."""

from __future__ import annotations

from tests.operators import commands_page, states_page


def test_the_page_of_states_is_current() -> None:
    assert states_page.PAGE.read_text(encoding="utf-8") == states_page.page()


def test_the_page_of_commands_is_current() -> None:
    assert commands_page.PAGE.read_text(encoding="utf-8") == commands_page.page()
