"""The addresses that channels may reach: public ones, and those that the configuration names.

Whoever manages an experiment chooses addresses that the server connects to. So none within the server's own
network may be among them unless its administrator says so.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

__all__ = ["Allowed", "BlockedError", "read_allowed"]

_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\Z")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class BlockedError(OSError):
    """A host within the server's own network that the configuration does not name."""


@dataclass(frozen=True)
class Allowed:
    """Hosts of the own network that channels may reach.

    Attributes:
        names: Host names in lower case.
        networks: Networks; an address is one with a single member.
    """

    names: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    def permits(self, address: str, host: str = "") -> bool:
        """Return whether a channel may connect to an IP address that was found for the name `host`."""
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if host.lower().removesuffix(".") in self.names:
            return True
        meant = _embedded(found)
        return any(each in network for each in (found, meant) for network in self.networks) or (
            found.is_global and meant.is_global and not (found.is_multicast or meant.is_multicast)
        )

    def resolve(self, host: str, port: int) -> list[str]:
        """Return the addresses of `host` to which a channel may connect.

        Raises:
            BlockedError: There is none.
            OSError: The host is unknown.
        """
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        permitted = [address for address in addresses if self.permits(address, host)]
        if not permitted:
            raise BlockedError(
                f"{host} is within the server's own network; server.alerts.private_hosts does not name it"
            )
        return permitted

    def to_json(self) -> dict[str, Sequence[str]]:
        """Return it for another process."""
        return {"names": sorted(self.names), "networks": [str(each) for each in self.networks]}


def read_allowed(entries: Iterable[str]) -> Allowed:
    """Return what the setting `server.alerts.private_hosts` allows.

    Raises:
        ValueError: An entry is neither a host name nor an address nor a network.

    >>> read_allowed(["hooks.lan", "10.1.0.0/16"]).permits("10.1.2.3")
    True
    """
    names, networks = set(), []
    for entry in entries:
        text = entry.strip().lower().removesuffix(".")
        try:
            networks.append(ipaddress.ip_network(text.strip("[]"), strict=False))
        except ValueError:
            if "/" in text or not _NAME.match(text) or text.replace(".", "").isdigit():
                raise ValueError(entry) from None
            names.add(text)
    return Allowed(frozenset(names), tuple(networks))


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that a gateway makes of an IPv6 address, else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo or address
