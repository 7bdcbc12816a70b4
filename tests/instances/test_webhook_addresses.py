"""A webhook calls public addresses, encrypted, and the networks that the operator allows."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from instances.webhooks.addresses import Refused, require_allowed

INNER = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1",
    "169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "224.0.0.1",
    "255.255.255.255", "240.0.0.1", "198.18.0.1", "::", "::1", "fe80::1", "fe80::1%eth0",
    "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
    "2001:0:7f00:1::", "2001:db8::1",
]  # fmt: skip


@pytest.mark.parametrize("address", INNER)
def test_an_inner_address_is_not_called(address: str) -> None:
    with pytest.raises(Refused):
        require_allowed([address], encrypted=True)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8"])
def test_a_public_address_is_called_encrypted(address: str) -> None:
    require_allowed([address], encrypted=True)
    with pytest.raises(Refused, match="https"):
        require_allowed([address], encrypted=False)


def test_one_inner_address_of_several_is_enough_to_refuse() -> None:
    with pytest.raises(Refused, match=r"10\.0\.0\.1"):
        require_allowed(["93.184.216.34", "10.0.0.1"], encrypted=True)


def test_the_networks_of_the_operator_are_called_either_way(settings: Any) -> None:
    settings.HOPPER_WEBHOOK_NETWORKS = [ip_network("10.0.0.0/8"), ip_network("::1/128")]
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "::1"):
        require_allowed([address], encrypted=False)
    with pytest.raises(Refused):
        require_allowed(["192.168.0.1"], encrypted=True)
