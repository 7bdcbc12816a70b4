"""Settings from the environment, read strictly: a wrong value is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import environ
from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from collections.abc import Sequence

TRUE, FALSE = ("on", "true", "yes", "1"), ("off", "false", "no", "0")


class Environment(environ.FileAwareEnv):
    """The variables of this process. NAME_FILE names a file with the value of NAME."""

    def word(self, var: str, default: str, allowed: Sequence[str]) -> str:
        """Return one of a few words. Raises ImproperlyConfigured for another."""
        text = str(self.str(var, default=default)).strip().lower() or default
        if text not in allowed:
            raise ImproperlyConfigured(f"{var} is {text!r}; allowed: {', '.join(allowed)}.")
        return text

    def bool(self, var: str, default: Any = False) -> bool:
        """Return a switch. Raises ImproperlyConfigured for a word that is neither on nor off."""
        return self.word(var, "on" if default else "off", (*TRUE, *FALSE)) in TRUE

    def int(self, var: str, default: Any = 0) -> int:
        """Return a whole number. Raises ImproperlyConfigured for another text."""
        text = str(self.str(var, default=str(default))).strip()
        if not text.isdecimal():
            raise ImproperlyConfigured(f"{var} is {text!r}; allowed: a whole number, 0 or more.")
        return int(text)
