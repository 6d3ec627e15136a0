"""Ask the kernel whether a socket has something to read, without reading it."""

import asyncio
import select
from typing import Self


class Readability:
    """Polls one file descriptor; no bytes are consumed and no exception is the common case."""

    __slots__ = ("_poll",)

    def __init__(self, fd: int) -> None:
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN | select.POLLHUP | select.POLLERR)

    @classmethod
    def of(cls, transport: asyncio.BaseTransport) -> Self | None:
        """Return None where the transport has no socket of its own."""
        sock = transport.get_extra_info("socket")
        return None if sock is None else cls(sock.fileno())

    def now(self) -> bool:
        """Whether data, the peer's end, or an error is waiting."""
        return bool(self._poll.poll(0))
