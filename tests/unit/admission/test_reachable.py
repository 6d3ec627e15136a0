"""Whether any address passes: compared with trying every address of a small world."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate_dataplane.snapshot.entries import NetworkEntry
from tidegate_operator.admission.reachable import reachable

# Of 10.0.0.0/28 and the whole rest: sixteen addresses stand for all.
_PARTS = st.integers(24 + 4, 32).flatmap(
    lambda length: st.integers(0, 15).map(lambda n: str(ip_network(f"10.0.0.{n}/{length}", strict=False)))
)
_REST = [str(one) for one in IPv4Network("0.0.0.0/0").address_exclude(IPv4Network("10.0.0.0/28"))]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.lists(_PARTS, max_size=4), st.lists(_PARTS, max_size=4)), min_size=1, max_size=3))
def test_it_finds_an_address_exactly_where_there_is_one(sections: list[tuple[list[str], list[str]]]) -> None:
    entries = [NetworkEntry(tuple(allow), (*deny, *_REST, "::/0")) for allow, deny in sections]

    def passes(text: str) -> bool:
        address = ip_address(text)
        return all(
            (not allow or any(address in ip_network(one) for one in allow))
            and not any(address in ip_network(one) for one in deny)
            for allow, deny in sections
        )

    assert reachable(entries) == any(passes(f"10.0.0.{n}") for n in range(16))


def test_no_section_lets_in_from_everywhere() -> None:
    assert reachable([])
    assert reachable([NetworkEntry(deny=("0.0.0.0/0",))])
    assert not reachable([NetworkEntry(deny=("0.0.0.0/0", "::/0"))])
    assert not reachable([NetworkEntry(allow=("10.0.0.0/8",)), NetworkEntry(allow=("192.0.2.0/24",))])
