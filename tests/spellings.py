"""Five spellings of one word (R25): two forms of the letters, another case, blanks, U+200B."""

from __future__ import annotations

import unicodedata

CAFE = "Café"
FIVE = (
    CAFE,
    unicodedata.normalize("NFD", CAFE),
    CAFE.upper(),
    f" {CAFE} ",
    "Ca\u200bfé",
)
