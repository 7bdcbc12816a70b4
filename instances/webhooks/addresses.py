"""The addresses that a webhook may call: public ones, and networks that the operator allows.

A name is resolved once for each request. The connection goes to the resolved address, so an answer
of the name server that changes later (DNS rebinding) has no effect.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from django.conf import settings

from hopper.errors import Invalid

Address = IPv4Address | IPv6Address

MAX_URL = 2000
_PORTS = {"https": 443, "http": 80}
_VISIBLE = re.compile(r"[!-~]+")

_CARRIES_IPV4 = tuple(map(ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")))
"""Networks whose addresses lead to an IPv4 address: NAT64, 6to4 and Teredo."""

_SERVICES = tuple(map(ip_network, ("168.63.129.16/32", "192.0.0.0/24")))
"""Services of clouds for their own machines. Python counts them, or some of them, as public."""


class Refused(Exception):
    """A request is not made, or its answer is not taken; the text says why."""


@dataclass(frozen=True)
class Target:
    """The parts of a webhook's URL."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def is_encrypted(self) -> bool:
        """Whether the receiver is asked for its certificate."""
        return self.scheme == "https"

    @property
    def host_header(self) -> str:
        """The value of the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    async def address(self) -> str:
        """Resolve the name and return the address to connect to.

        Raises Refused if the name has no address, or one that is not allowed.
        """
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise Refused(f"no address for {self.host}: {error.strerror}") from error
        addresses = [str(entry[4][0]) for entry in found]
        require_allowed(addresses, encrypted=self.is_encrypted)
        return addresses[0]


def target_of(url: str) -> Target:
    """Return the parts of a URL. Raises Invalid for a URL that no webhook may have."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        port = host = None
    if not (host and _VISIBLE.fullmatch(url) and parts.scheme in _PORTS) or port == 0:
        raise _invalid("must be a URL in ASCII such as https://example.org/hook")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise _invalid("must be without a user, a password and a fragment (#...)")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    target = Target(parts.scheme, host, port or _PORTS[parts.scheme], path)
    try:
        if not target.is_encrypted and not settings.HOPPER_WEBHOOK_NETWORKS:
            raise Refused("http is for the networks in HOPPER_WEBHOOK_NETWORKS; use https")
        if literal := _literal(host):
            require_allowed([literal], encrypted=target.is_encrypted)
    except Refused as refused:
        raise _invalid(str(refused)) from refused
    return target


def require_allowed(addresses: Iterable[str], *, encrypted: bool) -> None:
    """Raise Refused unless a webhook may call every address.

    A public address is called encrypted; a network of the operator in either way.
    """
    for text in addresses:
        address = _plain(ip_address(text))
        if any(address in network for network in settings.HOPPER_WEBHOOK_NETWORKS):
            continue
        if not _is_public(address):
            raise Refused(f"{text} is not a public address")
        if not encrypted:
            raise Refused(f"{text} is a public address: use https")


def _plain(address: Address) -> Address:
    """Return the IPv4 address in an IPv6 address that maps it."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_public(address: Address) -> bool:
    inner = any(address in network for network in _CARRIES_IPV4 + _SERVICES)
    return address.is_global and not (address.is_multicast or inner)


def _literal(host: str) -> str | None:
    """Return the host if it is an address, None for a name."""
    try:
        return str(ip_address(host))
    except ValueError:
        return None


def _invalid(words: str) -> Invalid:
    return Invalid.field("url", words)
