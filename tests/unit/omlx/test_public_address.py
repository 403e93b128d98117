"""A server may be asked to reach into the internet, and into nothing else."""

import pytest

from omlx.api.public_address import is_public


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"],
)
def test_addresses_of_the_internet(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",  # noqa: S104  one's own
        "169.254.169.254", "100.64.0.1", "100.127.255.255",  # a cloud's, a provider's
        "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",  # many, reserved, everybody
        "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "192.88.99.1",  # tests, documents, relays
        "::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd12::1", "ff02::1", "100::1",
        "2001:db8::1", "2001::1", "3fff::1", "4000::1", "2606:4700::1%1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::ffff:0:127.0.0.1",  # IPv4 in it
        "64:ff9b::10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::8.8.8.8", "2002:7f00:1::1", "2002:a00:1::",
        "", "localhost", "8.8.8", "8.8.8.8.", "0x7f.1", "2130706433", "8.8.8.8/32",  # no addresses
    ],
)  # fmt: skip
def test_all_others(address):
    assert not is_public(address)
