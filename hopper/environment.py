"""Settings from the environment, read strictly: a wrong value is refused."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

TRUE, FALSE = ("on", "true", "yes", "1"), ("off", "false", "no", "0")
DATABASES = ("sqlite://", "postgres://", "postgresql://")


class Environment(environ.FileAwareEnv):
    """The variables of this process. NAME_FILE names a file with the value of NAME."""

    def get_value(self, var: str, *args: Any, **options: Any) -> Any:
        """Return the value of a variable. Raises ImproperlyConfigured for an unreadable file."""
        try:
            return super().get_value(var, *args, **options)
        except OSError as error:
            raise ImproperlyConfigured(
                f"{var}_FILE: cannot read {error.filename}: {error.strerror}."
            ) from error

    def database(self, var: str) -> dict[str, Any] | None:
        """Return the settings of the database that a URL names, None without one.

        Raises ImproperlyConfigured without the URL, which may hold a password.
        """
        url = self.str(var, default="")
        if not url:
            return None
        with warnings.catch_warnings(action="ignore"):  # it would show the URL
            settings: dict[str, Any] = self.db_url_config(url)
        if not url.startswith(DATABASES) or not settings.get("NAME"):
            raise ImproperlyConfigured(
                f"{var}: not the URL of a database: "
                "write postgres://USER@HOST/NAME or sqlite:////PATH/TO/FILE."
            )
        return settings

    def networks(self, var: str) -> list[IPv4Network | IPv6Network]:
        """Return the networks in a list. Raises ImproperlyConfigured for another text."""
        try:
            return [ip_network(one.strip()) for one in self.list(var, default=[])]
        except ValueError as error:
            words = "allowed: networks such as 10.0.0.0/8,::1/128"
            raise ImproperlyConfigured(f"{var}: {error}; {words}.") from error

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
