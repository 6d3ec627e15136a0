"""From bytes to one response, without I/O.

llhttp does the reading, in its strict form: it refuses folded headers, bare CR or LF, Content-Length together with
Transfer-Encoding, and two Content-Lengths. Added here is what a client must know beyond that: which response
ends the exchange, how its body is framed, how large a head may be, and whether bytes came that nobody asked for.
"""

import re

import httptools

from tidegate_dataplane.upstream.errors import ProtocolError

_KEEP_ALIVE_TIMEOUT = re.compile(rb"timeout\s*=\s*(\d{1,6})", re.IGNORECASE).search
_OF_INTEREST = frozenset({b"content-length", b"transfer-encoding", b"connection", b"keep-alive"})
_BODILESS_STATUSES = frozenset({204, 304})


class ResponseParser:
    """Parses the responses of one connection, one exchange after another.

    After each `feed`: `status` is 0 until the final head has arrived; `body` holds the body bytes of this feed;
    `complete` says that the response ended; `surplus` that bytes followed it. Raises ProtocolError only for bytes
    of the response itself.
    """

    __slots__ = (
        "_body_end",
        "_head_request",
        "_headers",
        "_informational",
        "_llhttp",
        "_max_header_bytes",
        "_overhead",
        "_until_close",
        "answered",
        "body",
        "complete",
        "headers",
        "idle_limit",
        "keep_alive",
        "on_body",
        "status",
        "surplus",
    )

    def __init__(self, max_header_bytes: int) -> None:
        self._max_header_bytes = max_header_bytes
        self.body: list[bytes] = []
        self.on_body = self.body.append  # llhttp calls the list itself: no Python frame for each chunk
        self._renew()
        self.begin(head_request=False)

    def _renew(self) -> None:
        self._llhttp = httptools.HttpResponseParser(self)

    def begin(self, *, head_request: bool) -> None:
        """Expect the response to a new request."""
        self._head_request = head_request
        self._headers: list[tuple[bytes, bytes]] = []
        self.headers = self._headers
        self._informational = False
        self._until_close = False
        self._body_end = 0  # where in `body` the surplus begins
        self._overhead = 0  # bytes since the last progress: head, trailers, chunk extensions
        self.status = 0
        self.answered = False
        self.complete = False
        self.surplus = False
        self.keep_alive = False
        self.idle_limit: float | None = None

    def feed(self, data: bytes) -> None:
        self.answered = True
        try:
            self._llhttp.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise ProtocolError("the provider switched protocols without being asked") from None
        except httptools.HttpParserError as error:
            self._refuse(error)
        if self.complete:
            self._drop_surplus()
        elif self.body:
            self._overhead = 0
        else:
            self._overhead += len(data)
            if self._overhead > self._max_header_bytes:
                raise ProtocolError(f"the response head or trailers exceed {self._max_header_bytes} bytes")

    def _refuse(self, error: httptools.HttpParserError) -> None:
        if self.complete:
            self.on_message_begin()
            return
        cause = error.__context__
        if isinstance(cause, ProtocolError):
            raise cause from None
        raise ProtocolError(f"the provider's answer is not valid HTTP/1.1: {error}") from None

    def _drop_surplus(self) -> None:
        """What came after the end of the response is nobody's body, least of all this one's."""
        if self._head_request:
            # llhttp does not know that this response has no body and still waits for one.
            self.surplus = self.surplus or bool(self.body)
            self.body.clear()
            self._renew()
        elif self.surplus:
            del self.body[self._body_end :]

    def feed_eof(self) -> bool:
        """The provider ended its side in good order; return whether that completes the response."""
        if self._until_close and not self.complete:
            self.complete = True
        return self.complete

    def take_body(self) -> bytes:
        """Return and forget the body bytes of the last feed."""
        body = self.body
        joined = body[0] if len(body) == 1 else b"".join(body)
        body.clear()
        return joined

    # llhttp's callbacks

    def on_message_begin(self) -> None:
        if self.complete and not self.surplus:
            self.surplus = True
            self._body_end = len(self.body)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.status == 0:  # else a trailer, which a proxy may drop (RFC 9110, section 6.5.1)
            self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        llhttp = self._llhttp
        status = llhttp.get_status_code()
        version = llhttp.get_http_version()
        if version != "1.1" and version != "1.0":
            raise ProtocolError(f"the provider answered with HTTP/{version}")
        if status < 200:
            self._skip_informational(status)
            return
        if status > 599:
            raise ProtocolError(f"{status} is not a response status")
        framed, size = self._read_framing(version)
        if size > self._max_header_bytes:
            raise ProtocolError(f"the response head exceeds {self._max_header_bytes} bytes")
        self.status = status
        self.keep_alive = llhttp.should_keep_alive()
        if self._head_request:
            self.complete = True
            self.keep_alive = version == "1.1" and not self._says_close()
        elif not framed and status not in _BODILESS_STATUSES:
            self._until_close = True

    def on_message_complete(self) -> None:
        if self._informational:
            self._informational = False
        else:
            self.complete = True

    def _skip_informational(self, status: int) -> None:
        """100 and 103 come before the final response, in any number, and mean nothing to us."""
        if status < 100 or status == 101:
            raise ProtocolError(f"the provider answered {status}, which nobody asked for")
        self._informational = True
        self._headers.clear()

    def _read_framing(self, version: str) -> tuple[bool, int]:
        """Return whether the head itself tells where the body ends, and the size of the headers in bytes."""
        framed = False
        size = 0
        for name, value in self._headers:
            size += len(name) + len(value)
            if name not in _OF_INTEREST:
                continue
            if name == b"content-length":
                framed = True
            elif name == b"transfer-encoding":
                # We sent no TE, so chunked alone is allowed, once, and never from HTTP/1.0 (RFC 9112, 6.1).
                if framed or version != "1.1" or value.lower() != b"chunked":
                    raise ProtocolError("the response's Transfer-Encoding cannot be trusted")
                framed = True
            elif name == b"keep-alive":
                found = _KEEP_ALIVE_TIMEOUT(value)
                self.idle_limit = float(found[1]) if found else None
        return framed, size

    def _says_close(self) -> bool:
        return any(
            name == b"connection" and b"close" in [part.strip() for part in value.lower().split(b",")]
            for name, value in self._headers
        )
