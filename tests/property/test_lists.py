"""Lists of addresses and hashes say what `ipaddress` and a set would say, whatever is in them."""

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from tidegate_dataplane.runtime.lists import AddressList, HashList
from tidegate_dataplane.snapshot.records import (
    ADDRESS_BYTES,
    address_number,
    join_digests,
    join_networks,
    network_record,
    split_records,
)

# Few distinct bits, so that networks cover, touch and repeat each other.
_V4 = st.builds(lambda low, high: (high << 24) | low, st.integers(0, 31), st.sampled_from((0, 10, 255)))
_V6 = st.builds(
    lambda high, low: (high << 64) | low,
    st.sampled_from((0, 1, 0x2001_0DB8_0000_0000, 0x2001_0DB8_0000_0001, (1 << 64) - 1)),
    st.sampled_from((0, 1, 2, 3, 0xFFFF_0000_0000, 0xFFFF_0A00_0001, 0xFFFF_FFFF_FFFF, 1 << 63, (1 << 64) - 1)),
)
_V4_NETWORKS = st.builds(
    lambda n, p: IPv4Network((n, p), strict=False), _V4, st.sampled_from((0, 1, 8, 24, 28, 30, 31, 32))
)
_V6_NETWORKS = st.builds(
    lambda n, p: IPv6Network((n, p), strict=False), _V6, st.sampled_from((0, 1, 32, 63, 64, 65, 95, 96, 120, 127, 128))
)
_NETWORKS = st.lists(_V4_NETWORKS | _V6_NETWORKS, max_size=30)
_ADDRESSES = st.lists(_V4.map(lambda n: str(ip_address(n))) | _V6.map(lambda n: str(IPv6Address(n))), max_size=20)


def _contained(text: str, networks: list[IPv4Network | IPv6Network]) -> bool:
    """The slow truth: both sides with IPv4-mapped addresses taken for IPv4."""
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    return any(address in _unmapped(network) for network in networks)


def _unmapped(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((int(mapped), network.prefixlen - 96))
    return network


@given(_NETWORKS, _ADDRESSES)
def test_a_list_of_addresses_holds_what_its_networks_hold(
    networks: list[IPv4Network | IPv6Network], addresses: list[str]
) -> None:
    compiled = AddressList.of(str(network) for network in networks)
    edges = [str(end) for network in networks for end in (network.network_address, network.broadcast_address)]
    for text in (*addresses, *edges):
        assert compiled.contains(text) == _contained(text, networks)


@given(_NETWORKS)
def test_equal_sets_of_addresses_have_equal_bytes(networks: list[IPv4Network | IPv6Network]) -> None:
    records = [record for network in networks if (record := network_record(str(network)))]
    assert len(records) == len(networks)
    joined = join_networks(records)
    assert join_networks(reversed(records)) == joined
    assert join_networks(split_records(joined, ADDRESS_BYTES)) == joined
    halves = [half for network in networks for half in _halved(network)]
    assert join_networks(filter(None, (network_record(str(half)) for half in halves))) == joined


def _halved(network: IPv4Network | IPv6Network) -> list[IPv4Network | IPv6Network]:
    # A half of an IPv6 network that is ::ffff:0:0/96 would mean all of IPv4.
    if network.prefixlen == network.max_prefixlen or network == IPv6Network("::fffe:0:0/95"):
        return [network]
    return list(network.subnets())


@given(_V6 | _V4)
def test_addresses_are_read_as_ipaddress_reads_them(number: int) -> None:
    address = ip_address(number)
    expected = number if address.version == 6 else 0xFFFF_0000_0000 | number
    assert address_number(str(address)) == expected
    if address.version == 6:
        assert address_number(f"{address}%eth0") == number


@given(st.text(max_size=70))
def test_what_is_no_network_is_refused_and_never_raises(text: str) -> None:
    try:
        ip_network(text, strict=False)
    except ValueError:
        assert network_record(text) is None


@given(st.sets(st.binary(min_size=16, max_size=16), max_size=40), st.lists(st.binary(min_size=16, max_size=16)))
def test_a_list_of_hashes_holds_exactly_its_hashes(listed: set[bytes], others: list[bytes]) -> None:
    compiled = HashList(join_digests(listed))
    # Neighbours that share one half are the hard ones.
    mixed = [one[:8] + other[8:] for one in listed for other in list(listed)[:3]]
    for digest in (*listed, *others, *mixed):
        assert compiled.contains(digest) == (digest in listed)
