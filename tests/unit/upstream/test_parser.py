"""The parser does not care how the network cuts a response into reads."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_dataplane.upstream.errors import ProtocolError
from tidegate_dataplane.upstream.parser import ResponseParser

CHUNKED = (
    b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nA: 1\r\ntransfer-encoding: chunked\r\n\r\n"
    b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nx-t: 1\r\n\r\n"
)
LENGTH = b"HTTP/1.1 201 Created\r\nA: 1\r\nB:\r\ncontent-length: 11\r\n\r\nhello world"


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % len(data) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges) if start < end]


def parse(parser: ResponseParser, pieces: list[bytes]) -> tuple[int, list[tuple[bytes, bytes]], bytes, bool, bool]:
    body = b""
    for piece in pieces:
        parser.feed(piece)
        body += parser.take_body()
    return parser.status, parser.headers, body, parser.complete, parser.keep_alive


@given(st.sampled_from([CHUNKED, LENGTH]), st.lists(st.integers(min_value=0), max_size=12))
def test_any_fragmentation_gives_the_same_response(data: bytes, places: list[int]) -> None:
    whole = parse(ResponseParser(65536), [data])
    assert whole[2:] == (b"hello world", True, True)
    assert parse(ResponseParser(65536), cut(data, places)) == whole


@given(st.lists(st.sampled_from([CHUNKED, LENGTH]), min_size=1, max_size=4))
def test_one_parser_reads_exchange_after_exchange(answers: list[bytes]) -> None:
    parser = ResponseParser(65536)
    for answer in answers:
        parser.begin(head_request=False)
        assert parse(parser, [answer]) == parse(ResponseParser(65536), [answer])
        assert not parser.surplus


@given(st.sampled_from([CHUNKED, LENGTH]), st.integers(min_value=1))
def test_every_true_prefix_is_incomplete_and_its_end_is_no_end(data: bytes, size: int) -> None:
    parser = ResponseParser(65536)
    parser.feed(data[: size % len(data)])
    assert not parser.complete
    assert not parser.feed_eof()


@given(
    st.sampled_from([CHUNKED, LENGTH]),
    st.sampled_from([CHUNKED, LENGTH, LENGTH + CHUNKED, LENGTH[:-3]])
    | st.binary(min_size=1).filter(lambda rest: rest.strip(b"\r\n") != b""),
)
def test_bytes_after_a_response_are_noticed_and_do_not_spoil_it(data: bytes, rest: bytes) -> None:
    parser = ResponseParser(65536)
    assert parse(parser, [data + rest])[2:] == (b"hello world", True, True)
    assert parser.surplus


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_give_a_response_or_a_protocol_error(data: bytes, head_request: bool) -> None:
    parser = ResponseParser(65536)
    parser.begin(head_request=head_request)
    try:
        parser.feed(data)
    except ProtocolError:
        assert not parser.complete


@given(st.sampled_from([CHUNKED, LENGTH]), st.data())
def test_any_damaged_response_gives_a_response_or_a_protocol_error(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data) - 1))
    damaged = data[:at] + draw.draw(st.binary(max_size=4)) + data[at + 1 :]
    parser = ResponseParser(65536)
    try:
        parser.feed(damaged)
    except ProtocolError:
        assert not parser.complete


def test_framing_is_bounded_between_two_pieces_of_the_body_not_over_a_long_stream() -> None:
    parser = ResponseParser(1000)
    parser.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    for _ in range(50):
        parser.feed(b"1;" + b"e" * 100 + b"\r\n")
        parser.feed(b"x\r\n")
        assert parser.take_body() == b"x"
    for _ in range(9):
        parser.feed(b"1;" + b"e" * 100)
    with pytest.raises(ProtocolError, match="1000 bytes"):
        parser.feed(b"e" * 100)
