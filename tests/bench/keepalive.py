"""A raw keep-alive HTTP/1.1 client for one prepared request: the least delay between asking and knowing."""

from __future__ import annotations

import re
import socket
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from bench.wrk import Call

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TIMEOUT = 5.0


class BrokenExchange(OSError):
    """The connection ended within an answer, or the answer had no length."""


def request_bytes(call: Call) -> bytes:
    """The call as it goes over the wire."""
    parts = urlsplit(call.url)
    body = call.body.read_bytes()
    lines = [f"POST {parts.path} HTTP/1.1", f"host: {parts.netloc}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in call.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def answer_length(data: bytes | bytearray) -> int | None:
    """Bytes of the first answer in `data`, head and body; None while its head is not complete."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    found = _LENGTH.search(data, 0, end)
    if found is None:
        raise BrokenExchange(f"an answer without content-length: {bytes(data[:200])!r}")
    return end + 4 + int(found[1])


def answer_status(data: bytes | bytearray) -> int:
    """The status code of an answer, `HTTP/1.1 200 OK`."""
    return int(data[9:12])


class KeepAlive:
    """Blocking; one connection, opened again when the server closed it. Not for several threads."""

    def __init__(self, call: Call) -> None:
        parts = urlsplit(call.url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._request = request_bytes(call)
        self._socket: socket.socket | None = None

    def ask(self) -> int:
        """Post the request and return the status of the answer; raises OSError."""
        connection = self._socket
        if connection is None:
            connection = self._socket = socket.create_connection(self._address, _TIMEOUT)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            connection.sendall(self._request)
            return _read_answer(connection)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; the next `ask` opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _read_answer(connection: socket.socket) -> int:
    data = bytearray()
    length: int | None = None
    while length is None or len(data) < length:
        received = connection.recv(65536)
        if not received:
            raise BrokenExchange("the server closed the connection within an answer")
        data += received
        length = answer_length(data) if length is None else length
    return answer_status(data)
