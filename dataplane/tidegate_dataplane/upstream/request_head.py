"""The bytes of a request's head.

Nothing that a caller sent may end a line early: header names are tokens, values hold no CR, LF or NUL, the
target holds only visible characters. Framing and connection headers belong to the connection alone.
"""

import re
from collections.abc import Sequence

# Headers that describe one connection (RFC 9110, section 7.6.1) or one message's framing. A proxy drops these
# from what it passes on, in either direction; `encode_headers` refuses them.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"proxy-connection",
        b"keep-alive",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
        b"expect",
        b"host",
    }
)

IDEMPOTENT_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_TARGET = re.compile(rb"/[\x21-\x7e]*").fullmatch
_BODILESS = frozenset({b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"TRACE"})

# Names repeat, so a known good one is looked up instead of matched; bounded, for callers choose names too.
_known_names: set[bytes] = set()
_KNOWN_NAMES_LIMIT = 1024


def encode_headers(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return the header lines, each ended by CRLF, without the closing empty line.

    Raises ValueError for a name that is no token, one that belongs to the connection (`HOP_BY_HOP`), and a value
    with CR, LF or NUL.
    """
    for name, _ in headers:
        if name not in _known_names:
            _admit_name(name)
    block = b"".join([b"%b: %b\r\n" % header for header in headers])
    # Each line brings exactly one CR and one LF of ours; any more came from a value.
    count = len(headers)
    if block.count(b"\n") != count or block.count(b"\r") != count or b"\0" in block:
        raise ValueError("a header value must not hold CR, LF or NUL")
    return block


def _admit_name(name: bytes) -> None:
    if _TOKEN(name) is None:
        raise ValueError(f"{name!r} is not a header name")
    if name.lower() in HOP_BY_HOP:
        raise ValueError(f"the header {name.decode('ascii')!r} is set by the connection, not by the caller")
    if len(_known_names) < _KNOWN_NAMES_LIMIT:
        _known_names.add(name)


def encode_request_head(
    method: bytes, target: bytes, authority: bytes, header_block: bytes, body_length: int | None
) -> bytes:
    """Return the whole head. `body_length` None means a chunked body. Raises ValueError for a bad method or target."""
    if _TARGET(target) is None:
        raise ValueError("a request target must be an absolute path of visible ASCII characters")
    if not method.isupper() or _TOKEN(method) is None:
        raise ValueError(f"{method!r} is not a request method")
    if body_length is None:
        framing = b"transfer-encoding: chunked\r\n"
    elif body_length == 0 and method in _BODILESS:
        framing = b""
    else:
        framing = b"content-length: %d\r\n" % body_length
    return b"%b %b HTTP/1.1\r\nhost: %b\r\n%b%b\r\n" % (method, target, authority, header_block, framing)
