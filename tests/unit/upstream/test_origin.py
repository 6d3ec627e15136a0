"""From an endpoint's URL to where connections go."""

import pytest

from tidegate_dataplane.upstream import Origin


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "path"),
    [
        ("http://127.0.0.1:8000/v1/", "127.0.0.1", 8000, b"127.0.0.1:8000", b"/v1"),
        ("http://Local.Test", "local.test", 80, b"local.test", b""),
        ("https://eu.api.openai.com/v1", "eu.api.openai.com", 443, b"eu.api.openai.com", b"/v1"),
        ("https://h:8443/a/b//", "h", 8443, b"h:8443", b"/a/b"),
        ("http://[::1]:8000/", "::1", 8000, b"[::1]:8000", b""),
        ("http://bücher.example/v1", "xn--bcher-kva.example", 80, b"xn--bcher-kva.example", b"/v1"),
    ],
)
def test_an_endpoint(url: str, host: str, port: int, authority: bytes, path: bytes) -> None:
    origin, base_path = Origin.from_url(url)
    assert (origin.host, origin.port, origin.authority, base_path) == (host, port, authority, path)
    assert (origin.tls is not None) == url.startswith("https")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://h/", "must be http or https"),
        ("h/v1", "must be http or https"),
        ("http://", "host is missing"),
        ("http://h/v1?x=1", "query or fragment"),
        ("http://h/v1#f", "query or fragment"),
        ("http://h:99999/", "(?i)port"),
        ("http://h:x/", "(?i)port"),
        ("http://h:0/", "(?i)port"),
        ("http://h/a b", "visible ASCII"),
        ("http://h/ä", "visible ASCII"),
    ],
)
def test_what_cannot_be_an_endpoint_is_refused(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Origin.from_url(url)


def test_a_password_in_an_endpoint_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="credential") as caught:
        Origin.from_url("https://user:hunter2@h/v1")
    assert "hunter2" not in str(caught.value)
