"""Which addresses channels may reach."""

from __future__ import annotations

import pytest

from lenswatch.server.alerts.channels.guard import Allowed, read_allowed

PRIVATE = (
    *("127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "10.0.0.1", "172.16.0.1", "192.168.1.1"),
    *("169.254.169.254", "fe80::1", "fe80::1%eth0", "fd00::1", "100.64.0.1", "224.0.0.1"),
    *("255.255.255.255", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "ff02::1"),
)


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_of_the_own_network_are_refused(address: str) -> None:
    assert not Allowed().permits(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "64:ff9b::101:101"])
def test_public_addresses_are_reached(address: str) -> None:
    assert Allowed().permits(address)


def test_networks_addresses_and_names_are_allowed_by_the_configuration() -> None:
    allowed = read_allowed(["10.1.0.0/16", "::1", "Hooks.Lan."])
    assert allowed.permits("10.1.255.1")
    assert allowed.permits("::ffff:10.1.0.1")
    assert allowed.permits("::1")
    assert allowed.permits("192.168.0.7", "hooks.lan")
    assert not allowed.permits("192.168.0.7", "other.lan")
    assert not allowed.permits("10.2.0.1")


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "a b", "", "https://hooks.lan", "10.1", "*"])
def test_an_entry_that_names_nothing_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read_allowed([entry])
