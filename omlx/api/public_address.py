"""Which network addresses are everybody's: those that a server may be asked to fetch from without reaching into its own network."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

_UNICAST = IPv6Network("2000::/3")  # what IPv6 has given out; the rest is reserved or local
_NAT64 = IPv6Network("64:ff9b::/96")
# Protocols', tunnels', benchmarks' and documents', which not every Python's tables have.
_NEVER = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "3fff::/20")))


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet; of one that stands for an IPv4 address, whether that is."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv4Address):
        return _is_public_v4(found)
    if found.scope_id is not None:
        return False
    inner = _embedded(found)
    if inner is not None:
        return _is_public_v4(inner)
    return found in _UNICAST and _is_given_out(found)


def _is_public_v4(address: IPv4Address) -> bool:
    return _is_given_out(address) and not address.is_multicast and not address.is_reserved


def _is_given_out(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not any(address in network for network in _NEVER)


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to an IPv6 address end at, where it is one of such."""
    if address in _NAT64:
        return IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour
