"""Subjects compare in one form; certificates tell their names."""

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from pki.authority import Authority
from tidegate_dataplane.transport.certificate import from_der, normalised_subject

_TYPES = [NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.EMAIL_ADDRESS]
_attributes = st.builds(x509.NameAttribute, st.sampled_from(_TYPES), st.text(min_size=1, max_size=16))
_rdns = st.lists(_attributes, min_size=1, max_size=2, unique_by=lambda each: each.oid).map(
    x509.RelativeDistinguishedName
)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("CN=search", "CN=search"),
        ("cn=search", "CN=search"),
        ("CN = search , O=Example Inc", "CN=search,O=Example Inc"),
        ("CN=b+OU=b+O=a", "CN=b+O=a+OU=b"),
        (r"CN=\C3\A9t\C3\A9", "CN=été"),
        (r"CN=Doe\, Jane,O=Example", r"CN=Doe\, Jane,O=Example"),
        ("emailAddress=a@b.example,CN=x", "1.2.840.113549.1.9.1=a@b.example,CN=x"),
        ("UID=1,DC=example,DC=com", "UID=1,DC=example,DC=com"),
    ],
)
def test_a_subject_has_one_form(given: str, expected: str) -> None:
    assert normalised_subject(given) == expected


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("search", "TYPE=VALUE"),
        ("CN=x,", "TYPE=VALUE"),
        ("/C=DE/CN=x", "commas"),
        ("CN=a;O=b", "backslash"),
        ('CN="a,b"', "backslash"),
        ("CN=a\\", "backslash"),
        ("C=Germany", "length"),
        ("shoeSize=44", "unknown"),
        ("CN=#0c0161", "hexadecimal"),
        ("CN=" + "x" * 5000, "longer"),
    ],
)
def test_a_wrong_subject_says_what_is_wrong(given: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        normalised_subject(given)


@given(st.lists(_rdns, min_size=1, max_size=4).map(x509.Name))
def test_what_a_certificate_says_can_be_written_into_a_consumer(name: x509.Name) -> None:
    text = name.rfc4514_string()
    once = normalised_subject(text)
    assert normalised_subject(once) == once


@given(st.text(alphabet=st.sampled_from('CN=a,+\\";# \n'), max_size=24))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        once = normalised_subject(text)
    except ValueError:
        return
    assert normalised_subject(once) == once


def test_names_of_a_certificate() -> None:
    issued = Authority.create("Test CA").issue_client(
        "search",
        uris=("spiffe://example.org/search",),
        dns=("Search.Example.ORG",),
        emails=("search@example.org",),
    )
    read = from_der(issued.der)
    assert read.subject == "CN=search"
    assert read.issuer == "CN=Test CA"
    assert read.uris == ("spiffe://example.org/search",)
    assert read.dns == ("search.example.org",)
    assert read.emails == ("search@example.org",)
    assert read.not_before < read.not_after
    assert len(read.fingerprint) == 64
    assert read.through == "tls"


@given(st.binary(max_size=64))
def test_what_is_no_certificate_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="certificate"):
        from_der(data)
