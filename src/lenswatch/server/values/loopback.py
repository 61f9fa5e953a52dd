"""Host names and addresses of this machine."""

from __future__ import annotations

import ipaddress
import re

__all__ = ["is_loopback"]

_LOCAL = re.compile(r"([a-z0-9_-]+\.)*localhost\Z")


def is_loopback(host: str) -> bool:
    """Return whether a host name or address always means this machine."""
    name = host.strip("[]").lower().removesuffix(".")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return bool(_LOCAL.match(name))
