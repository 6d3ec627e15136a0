"""Nothing that a caller sends can become a line of its own on the way to a provider."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_dataplane.upstream import HOP_BY_HOP, encode_headers
from tidegate_dataplane.upstream.request_head import encode_request_head


def test_a_head() -> None:
    block = encode_headers([(b"accept", b"*/*"), (b"X-Empty", b"")])
    assert encode_request_head(b"POST", b"/v1/x", b"h:1", block, 3) == (
        b"POST /v1/x HTTP/1.1\r\nhost: h:1\r\naccept: */*\r\nX-Empty: \r\ncontent-length: 3\r\n\r\n"
    )


@pytest.mark.parametrize("value", [b"a\r\nx: y", b"a\nb", b"a\rb", b"a\0b", b"\r\n"])
def test_a_value_that_ends_its_line_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="CR, LF or NUL"):
        encode_headers([(b"x", b"good"), (b"x", value)])


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"a\r\nb", b"a\n", "ä".encode(), b"a\0", b"x: y\r\nz"])
def test_a_name_that_is_no_token_is_refused(name: bytes) -> None:
    with pytest.raises(ValueError, match="not a header name"):
        encode_headers([(name, b"v")])


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_framing_belongs_to_the_connection(name: bytes) -> None:
    for spelling in (name, name.title()):
        with pytest.raises(ValueError, match="set by the connection"):
            encode_headers([(spelling, b"1")])


@pytest.mark.parametrize(
    "target", [b"", b"v1", b"/a b", b"/a\r\nb", b"/\xc3\xa4", b"/a\0", b"http://h/", b"/a\x7f", b"/a\n"]
)
def test_a_target_that_is_no_path_is_refused(target: bytes) -> None:
    with pytest.raises(ValueError, match="target"):
        encode_request_head(b"GET", target, b"h", b"", 0)


@pytest.mark.parametrize("method", [b"", b"get", b"GET /", b"G\r\nET"])
def test_a_method_that_is_none_is_refused(method: bytes) -> None:
    with pytest.raises(ValueError, match="method"):
        encode_request_head(method, b"/", b"h", b"", 0)


@given(st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=12)), max_size=5))
def test_whatever_is_encoded_reads_back_as_the_same_headers(headers: list[tuple[bytes, bytes]]) -> None:
    try:
        block = encode_headers(headers)
    except ValueError:
        return
    lines = block.split(b"\r\n")
    assert lines.pop() == b""
    assert [tuple(line.split(b": ", 1)) for line in lines] == headers
