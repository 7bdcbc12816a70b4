"""The refusals of `hopper serve`: settings that are safe on a laptop and not for a team."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.core.checks.security.base import (
    SECRET_KEY_INSECURE_PREFIX,
    SECRET_KEY_MIN_LENGTH,
    SECRET_KEY_MIN_UNIQUE_CHARACTERS,
)

from hopper import embedded, variables

NETWORK_FILE_SYSTEMS = re.compile(r"(nfs\d?|cifs|smb\w*|9p|afs|ceph|glusterfs|lustre|fuse\..+)")
MOUNTS = Path("/proc/self/mounts")


def refusals(host: str) -> Iterator[str]:
    """Yield why a server at this address would not be safe, each with the next step.

    A mistyped name counts: the setting that it should be has not been made.
    """
    yield from variables.mistyped(os.environ)
    if settings.DEBUG:
        yield "HOPPER_DEBUG shows settings and code to every caller: unset it."
    if settings.DATABASES["default"]["ENGINE"] == embedded.ENGINE:
        path = Path(settings.DATABASES["default"]["NAME"])
        if kind := network_file_system(path):
            yield (
                f"The store {path} lies on a network file system ({kind}), which breaks SQLite: "
                "use a local folder, or PostgreSQL."
            )
    if is_loopback(host):
        return
    if settings.HOPPER_AUTH == "off":
        yield (
            f"HOPPER_AUTH=off makes every caller an admin, and {host} can be reached from "
            "elsewhere: leave HOPPER_AUTH on, or serve at 127.0.0.1."
        )
    if is_weak(settings.SECRET_KEY):
        yield (
            f"HOPPER_SECRET_KEY can be guessed: take {SECRET_KEY_MIN_LENGTH} random characters, "
            "or leave it out for one beside the store."
        )


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_weak(key: str) -> bool:
    """Return whether Django's check of a deployment warns of this key."""
    return (
        len(key) < SECRET_KEY_MIN_LENGTH
        or len(set(key)) < SECRET_KEY_MIN_UNIQUE_CHARACTERS
        or key.startswith(SECRET_KEY_INSECURE_PREFIX)
    )


def network_file_system(path: Path) -> str:
    """Return the kind of the network file system that holds the path, empty for a local one."""
    if not MOUNTS.exists():
        return ""
    found = (Path("/"), "")
    for line in MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines():
        _, point, kind, *_ = line.split(" ")
        place = Path(point.replace("\\040", " "))
        if path.resolve().is_relative_to(place) and place.is_relative_to(found[0]):
            found = (place, kind)
    return found[1] if NETWORK_FILE_SYSTEMS.fullmatch(found[1]) else ""


def names_of(host: str) -> list[str]:
    """Return the names under which a server at this address is called, for ALLOWED_HOSTS."""
    local = ["localhost", "127.0.0.1", "[::1]"]
    if is_loopback(host):
        return list(dict.fromkeys([*local, _bracketed(host)]))
    everywhere = host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
    names = {socket.gethostname(), socket.getfqdn()} if everywhere else {host}
    if everywhere:
        names |= set(_addresses())
    return local + sorted({_bracketed(name) for name in names} - set(local))


def _addresses() -> list[str]:
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(socket.gethostname(), None)]
    except OSError:
        return []


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name else name
