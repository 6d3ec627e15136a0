"""Where the caller is, and which certificate it has, as trusted proxies say it."""

import string
import time
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pki.authority import Authority
from tidegate_dataplane.transport.forwarded import (
    MAX_CERTIFICATE_HEADER,
    MAX_FORWARDED,
    client_address,
    forwarded_certificate,
)
from tidegate_dataplane.transport.proxies import AddressHeader, TrustedProxies, canonical_address

PROXIES = ("10.0.0.0/24", "2001:db8::/64")
HASH = "468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688"


def found(peer: str, value: str | None, depth: int = 1) -> str:
    headers = {} if value is None else {"x-forwarded-for": value}
    return client_address(peer, headers, TrustedProxies.parse(PROXIES, depth))


def forwarded(peer: str, value: str, depth: int = 1) -> str:
    proxies = TrustedProxies.parse(PROXIES, depth, header=AddressHeader.FORWARDED)
    return client_address(peer, {"forwarded": value, "x-forwarded-for": "6.6.6.6"}, proxies)


@pytest.mark.parametrize(
    ("peer", "value", "depth", "expected"),
    [
        ("192.0.2.1", "6.6.6.6", 1, "192.0.2.1"),  # not a proxy: whatever it says is its own claim
        ("10.0.0.1", None, 1, "10.0.0.1"),
        ("10.0.0.1", "192.0.2.7", 1, "192.0.2.7"),
        ("10.0.0.1", "6.6.6.6, 192.0.2.7", 1, "192.0.2.7"),
        ("10.0.0.1", "6.6.6.6, 192.0.2.7", 9, "192.0.2.7"),
        ("10.0.0.1", "192.0.2.7, 10.0.0.2", 1, "10.0.0.2"),
        ("10.0.0.1", "192.0.2.7, 10.0.0.2", 2, "192.0.2.7"),
        ("10.0.0.1", "6.6.6.6, 192.0.2.7, 10.0.0.2", 9, "192.0.2.7"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", 9, "10.0.0.3"),
        ("10.0.0.1", "192.0.2.7:4711", 1, "192.0.2.7"),
        ("10.0.0.1", "[2001:DB8:1::7]:4711", 1, "2001:db8:1::7"),
        ("10.0.0.1", "2001:db8:1:0:0:0:0:7", 1, "2001:db8:1::7"),
        ("10.0.0.1", "::ffff:192.0.2.7", 1, "192.0.2.7"),
        ("::ffff:10.0.0.1", "192.0.2.7", 1, "192.0.2.7"),
        ("2001:db8::1", "192.0.2.7", 1, "192.0.2.7"),
        ("10.0.0.1", "unknown", 1, "10.0.0.1"),
        ("10.0.0.1", "", 1, "10.0.0.1"),
        ("10.0.0.1", "192.0.2.7,", 1, "10.0.0.1"),
        ("10.0.0.1", "192.0.2.7, evil, 10.0.0.2", 9, "10.0.0.2"),
        ("10.0.0.1", "192.0.2.7:99999", 1, "10.0.0.1"),
        ("10.0.0.1", "192.0.2.07", 1, "10.0.0.1"),
        ("10.0.0.1", "1" * 100_000, 1, "10.0.0.1"),
    ],
)
def test_x_forwarded_for(peer: str, value: str | None, depth: int, expected: str) -> None:
    assert found(peer, value, depth) == expected


@pytest.mark.parametrize(
    ("value", "depth", "expected"),
    [
        ("for=192.0.2.7", 1, "192.0.2.7"),
        ("For=192.0.2.7;proto=http;by=203.0.113.43", 1, "192.0.2.7"),
        ('for="192.0.2.7:4711"', 1, "192.0.2.7"),
        ('for="[2001:db8:cafe::17]:4711";proto=https', 1, "2001:db8:cafe::17"),
        ("for=6.6.6.6, for=192.0.2.7", 1, "192.0.2.7"),
        ("for=192.0.2.7, for=10.0.0.2", 2, "192.0.2.7"),
        ('for=6.6.6.6;host="a,b", for=192.0.2.7', 1, "192.0.2.7"),
        ('for="6.6.6.6, for=192.0.2.7', 1, "192.0.2.7"),  # a caller's open quote swallows nothing
        ("for=unknown", 1, "10.0.0.1"),
        ("for=_hidden", 1, "10.0.0.1"),
        ('for="2001:db8:cafe::17"', 1, "10.0.0.1"),
        ("proto=https", 1, "10.0.0.1"),
        ("for=192.0.2.7;for=6.6.6.6", 1, "10.0.0.1"),
        ('for="192.0.2.7"6.6.6.6', 1, "10.0.0.1"),
        ("", 1, "10.0.0.1"),
    ],
)
def test_forwarded(value: str, depth: int, expected: str) -> None:
    assert forwarded("10.0.0.1", value, depth) == expected


@pytest.mark.parametrize("wrong", ["10.0.0.1/8", "proxy.example.org", "10.0.0.0/33", "", "0.0.0.0/0", "::/0"])
def test_a_wrong_network_is_said_with_its_flag(wrong: str) -> None:
    with pytest.raises(ValueError, match="--trusted-proxy "):
        TrustedProxies.parse([wrong])


@pytest.mark.parametrize("wrong", [0, -1, 1000])
def test_a_wrong_depth_is_said_with_its_flag(wrong: int) -> None:
    with pytest.raises(ValueError, match="--trusted-proxy-depth"):
        TrustedProxies.parse(PROXIES, wrong)


_noise = st.text(alphabet=st.sampled_from('for=192.0.2.7:[]", ;\\10.0.0.2db8::'), max_size=60) | st.text(max_size=60)


@given(_noise, st.integers(1, 4), st.sampled_from(AddressHeader))
@example('"', 1, AddressHeader.FORWARDED)
def test_the_address_is_always_one(value: str, depth: int, header: AddressHeader) -> None:
    proxies = TrustedProxies.parse(PROXIES, depth, header=header)
    address = client_address("10.0.0.1", {header.value: value}, proxies)
    assert canonical_address(address) == address


@given(_noise, st.sampled_from(AddressHeader))
def test_nothing_a_caller_sends_hides_what_the_nearest_proxy_saw(value: str, header: AddressHeader) -> None:
    if value.endswith("\\"):
        return  # then nothing is believed
    appended = "192.0.2.200" if header is AddressHeader.X_FORWARDED_FOR else "for=192.0.2.200"
    proxies = TrustedProxies.parse(PROXIES, 1, header=header)
    assert client_address("10.0.0.1", {header.value: f"{value},{appended}"}, proxies) == "192.0.2.200"


def test_a_certificate_in_envoys_words() -> None:
    read = forwarded_certificate(
        f'By=spiffe://mesh/gate;Hash={HASH};Subject="CN=Test Client,OU=Lyft,C=US";'
        "URI=spiffe://mesh/search;URI=http://testclient.example;DNS=Search.Example;DNS=b.example"
    )
    assert read is not None
    assert read.subject == "CN=Test Client,OU=Lyft,C=US"
    assert read.uris == ("spiffe://mesh/search", "http://testclient.example")
    assert read.dns == ("search.example", "b.example")
    assert read.fingerprint == HASH
    assert read.through == "x-forwarded-client-cert"


def test_the_whole_certificate_tells_more_and_the_rest_must_agree() -> None:
    issued = Authority.create("Test CA").issue_client("search", uris=("spiffe://mesh/search",))
    pem = quote(issued.certificate.decode(), safe="")
    read = forwarded_certificate(f'By=x;Cert="{pem}";Subject="CN=search";URI=spiffe://mesh/search')
    assert read is not None
    assert (read.subject, read.serial) == ("CN=search", issued.parsed.serial_number)
    assert read.not_after > 0
    assert forwarded_certificate(f'Hash={HASH};Cert="{pem}"') is None
    assert forwarded_certificate(f'Cert="{pem}";URI=spiffe://mesh/admin') is None
    assert forwarded_certificate(f'Cert="{pem[:200]}"') is None


def test_the_nearest_proxys_element_counts() -> None:
    ours = 'By=x;URI=spiffe://mesh/me;Subject="CN=me"'
    for theirs in ('URI=spiffe://mesh/admin;Subject="', "URI=spiffe://mesh/admin", '"', "a,b", ";;;", '\\"'):
        read = forwarded_certificate(f"{theirs},{ours}")
        assert read is not None
        assert (read.uris, read.subject) == (("spiffe://mesh/me",), "CN=me")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "By=x",
        "nonsense",
        "Hash=short",
        f"Hash={HASH};Hash={HASH}",
        'Subject="CN=a";Subject="CN=b"',
        'Subject="CN=a',
        'Subject="CN=a"b;URI=x',
        "URI=spiffe://a\\,URI=spiffe://b",
        # A subject with a quote and a comma in it cannot end its element and begin another.
        r'Subject="CN=a\\"\,URI=spiffe://mesh/admin\;Subject=\\""',
        "URI=spiffe://a/é",
        "URI=" + "x" * MAX_CERTIFICATE_HEADER,
        "URI=a;" * 100 + "URI=b",
        'Subject="/C=US/CN=admin"',  # the slash form is ambiguous
    ],
)
def test_what_is_malformed_is_no_certificate(value: str) -> None:
    assert forwarded_certificate(value) is None


def test_a_subject_that_cannot_be_read_matches_nobody() -> None:
    read = forwarded_certificate(f'Hash={HASH};Subject="/C=US/CN=admin";URI=spiffe://mesh/a')
    assert read is not None
    assert (read.subject, read.uris) == ("", ("spiffe://mesh/a",))


_xfcc = st.text(alphabet=st.sampled_from('ByURI=Hash;,"\\CN%0a '), max_size=80) | st.text(
    alphabet=string.printable, max_size=80
)


@given(_xfcc)
def test_no_value_breaks_the_reader(value: str) -> None:
    read = forwarded_certificate(value)
    if read is not None:
        assert read.subject or read.uris or read.dns or read.fingerprint


@given(_xfcc)
def test_no_callers_element_changes_the_proxys(value: str) -> None:
    read = forwarded_certificate(f"{value},URI=spiffe://mesh/me")
    assert read is None or read.uris == ("spiffe://mesh/me",)


@pytest.mark.parametrize("evil", ['"', '\\"', 'a="', '",', "\\", ";", '",\\'])
def test_what_a_caller_writes_costs_no_more_than_its_length(evil: str) -> None:
    """A header may have 64 KiB, and it is read before anybody knows who calls."""
    proxies = TrustedProxies.parse(["10.0.0.0/8"], 3, header=AddressHeader.FORWARDED)
    value = evil * (60_000 // len(evil)) + ", for=10.0.0.2"

    def once() -> float:
        began = time.process_time()
        client_address("10.0.0.1", {"forwarded": value}, proxies)
        return time.process_time() - began

    assert min(once() for _ in range(3)) < 0.03


def test_of_a_long_header_only_the_right_end_is_read() -> None:
    padding = "for=1.1.1.1;by=" + "x" * MAX_FORWARDED
    assert forwarded("10.0.0.1", f"{padding}, for=192.0.2.7", depth=3) == "192.0.2.7"
    assert forwarded("10.0.0.1", f"{padding}, for=10.0.0.2", depth=3) == "10.0.0.2"
    assert forwarded("10.0.0.1", f"by={'x' * MAX_FORWARDED};for=192.0.2.7", depth=3) == "10.0.0.1"
