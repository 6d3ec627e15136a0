"""Which addresses are proxies that we believe, and what address a text means."""

from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network

MAX_DEPTH: Final = 32
_REMEMBERED: Final = 8192
_MAX_ADDRESS: Final = 64


class AddressHeader(StrEnum):
    """The header in which the trusted proxies write whom they serve."""

    X_FORWARDED_FOR = "x-forwarded-for"
    FORWARDED = "forwarded"


class TrustedProxies:
    """The proxies before us, by their networks.

    `depth` is how many of them a request passes at the most; 1 believes the nearest only. A greater depth than there
    are proxies lets whoever calls from inside `networks` choose the address that we see, for its own address then
    counts as a proxy's. `header` is the one header that is read: a proxy that keeps one passes on the other as the
    caller wrote it.
    """

    __slots__ = ("depth", "header", "networks", "trusts")

    def __init__(
        self,
        networks: tuple[Network, ...],
        depth: int = 1,
        *,
        header: AddressHeader = AddressHeader.X_FORWARDED_FOR,
    ) -> None:
        self.networks = networks
        self.depth = depth
        self.header = header
        # Callers come through few proxies, so nearly every question is one that was asked before.
        self.trusts = lru_cache(maxsize=_REMEMBERED)(self._trusts)

    @classmethod
    def parse(
        cls, networks: Iterable[str], depth: int = 1, *, header: AddressHeader = AddressHeader.X_FORWARDED_FOR
    ) -> "TrustedProxies":
        """From flags; raises ValueError that says which is wrong."""
        if not 1 <= depth <= MAX_DEPTH:
            raise ValueError(f"--trusted-proxy-depth {depth}: give the number of your proxies, 1 to {MAX_DEPTH}")
        return cls(tuple(_network(each) for each in networks), depth, header=header)

    def _trusts(self, address: str) -> bool:
        found = _parsed(address)
        return found is not None and any(found in network for network in self.networks)


def _network(text: str) -> Network:
    try:
        found = ip_network(text.strip())
    except ValueError as error:
        raise ValueError(f"--trusted-proxy {text!r}: {error}; write for example 10.0.0.0/24 or 2001:db8::7") from None
    if found.prefixlen == 0:
        raise ValueError(f"--trusted-proxy {text}: this believes every caller; name the networks of your proxies")
    return found


def canonical_address(text: str) -> str | None:
    """An address without port, brackets and zone, an IPv4-mapped one as IPv4 (RFC 4291, section 2.5.5.2).

    Takes `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` and `[2001:db8::1]:80`; None for anything else.
    """
    # Callers write such texts: what is remembered must be short.
    return _canonical_address(text) if len(text) <= _MAX_ADDRESS else None


@lru_cache(maxsize=_REMEMBERED)
def _canonical_address(text: str) -> str | None:
    host = text.strip(" \t")
    if host.startswith("["):
        host, bracket, port = host[1:].partition("]")
        if not bracket or (port and not _is_port(port)):
            return None
        return None if "." in host and ":" not in host else _canonical(host)
    if host.count(":") == 1:
        host, _, port = host.partition(":")
        if not _is_port(":" + port):
            return None
    return _canonical(host)


def _is_port(text: str) -> bool:
    number = text[1:]
    return text[0] == ":" and number.isascii() and number.isdecimal() and len(number) <= 5 and int(number) <= 65535


def _canonical(text: str) -> str | None:
    found = _parsed(text)
    return None if found is None else str(found)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found
