"""Numbers with their nouns in messages. Does not import Django: the command line counts too."""

from __future__ import annotations


def counted(number: int, noun: str, one: str = "", more: str = "") -> str:
    """Return a number with its noun, such as "1 task" or "1,200 tasks".

    `noun` is the singular. `one` and `more` are words that follow a number of one and another
    number, such as "is" and "are".
    """
    if number == 1:
        return f"1 {noun} {one}".rstrip()
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {plural} {more}".rstrip()
