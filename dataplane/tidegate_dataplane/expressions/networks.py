"""`address.inNetwork('10.0.0.0/8')`: whether a text is an address of a network, of either family.

An IPv4 address that is written as an IPv6 one (`::ffff:10.1.2.3`) is the IPv4 address.
"""

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network


@lru_cache(maxsize=1024)
def network(text: str) -> IPv4Network | IPv6Network:
    """A network by its CIDR form, or a single address; raises ValueError that says what would be right."""
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        meant = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is not a network; write one such as '10.0.0.0/8' or '2001:db8::/32'") from None
    raise ValueError(f"{text!r} has bits set beyond its prefix length; did you mean {str(meant)!r}?")


def in_network(address: object, inside: str) -> bool:
    """Raises ValueError when the text is no address, TypeError when it is no text."""
    if not isinstance(address, str):
        raise TypeError(f"an address is a string, not {type(address).__name__}")
    return _in_network(address, inside)


@lru_cache(maxsize=4096)
def _in_network(address: str, inside: str) -> bool:
    return _address(address) in network(inside)


def _address(text: str) -> IPv4Address | IPv6Address:
    try:
        found = ip_address(text)
    except ValueError:
        raise ValueError(f"{text[:64]!r} is not an address") from None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found
