"""Whether any address at all passes the network sections of several policies together. Pure."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from tidegate_dataplane.snapshot.entries import NetworkEntry

_Network = IPv4Network | IPv6Network
_Address = IPv4Address | IPv6Address
_LOWEST = (ip_address("0.0.0.0"), ip_address("::"))  # noqa: S104 - nothing is bound to it


def reachable(sections: Iterable[NetworkEntry]) -> bool:
    """Whether some address is in one of the allowed networks of each section, and in none that any of them denies.

    What remains of networks after others are taken away begins where an allowed one begins, or right behind a denied
    one; so these addresses suffice. Lists of addresses are left aside: they change by themselves.
    """
    wanted = list(sections)
    allows = [_read(section.allow) for section in wanted if section.allow]
    denied = [network for section in wanted for network in _read(section.deny)]
    return any(
        all(_within(address, allowed) for allowed in allows) and not _within(address, denied)
        for address in _beginnings(allows, denied)
    )


def _beginnings(allows: Iterable[Iterable[_Network]], denied: Iterable[_Network]) -> Iterable[_Address]:
    yield from _LOWEST
    for allowed in allows:
        for network in allowed:
            yield network.network_address
    for network in denied:
        if int(network.broadcast_address) + 1 < 2**network.max_prefixlen:
            yield network.broadcast_address + 1


def _within(address: _Address, networks: Iterable[_Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


@lru_cache(maxsize=1024)
def _read(texts: tuple[str, ...]) -> tuple[_Network, ...]:
    return tuple(ip_network(text) for text in texts)
