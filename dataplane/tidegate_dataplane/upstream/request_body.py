"""Sending a request whose body does not go out in one write: a large one, or one that is still being made."""

from collections.abc import AsyncIterator

from tidegate_dataplane.upstream.connection import Connection

# Up to this size head and body leave in one write; above it, in slices, so that an early answer can stop them.
ONE_WRITE = 64 * 1024


async def send_sliced(connection: Connection, head: bytes, body: bytes, *, stall_timeout: float) -> None:
    """Write `head` and `body` as fast as the provider takes them.

    `stall_timeout`: seconds in which it must take something, and, after the last byte, answer.
    """
    connection.write(head)
    view = memoryview(body)
    for start in range(0, len(body), ONE_WRITE):
        connection.write(view[start : start + ONE_WRITE])
        await _drained(connection, stall_timeout)
    connection.start_deadline(stall_timeout)


async def send_chunked(
    connection: Connection, head: bytes, body: AsyncIterator[bytes], *, stall_timeout: float
) -> None:
    """Write `head` and then each item of `body` as a chunk. While `body` makes us wait, no deadline runs."""
    connection.write(head)
    try:
        connection.stop_deadline()
        async for chunk in body:
            if chunk:  # an empty chunk would end the body
                connection.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                await _drained(connection, stall_timeout)
                connection.stop_deadline()
    finally:
        aclose = getattr(body, "aclose", None)
        if aclose is not None:
            await aclose()
    connection.write(b"0\r\n\r\n")
    connection.start_deadline(stall_timeout)


async def _drained(connection: Connection, stall_timeout: float) -> None:
    if connection.writing_paused:
        connection.start_deadline(stall_timeout)
        await connection.writable()
