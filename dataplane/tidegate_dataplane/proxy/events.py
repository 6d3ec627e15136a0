"""Server-sent events on their way through: kept whole, looked into only where usage may stand. Pure.

Source: WHATWG HTML, "Server-sent events": events end at an empty line; lines end at CR LF, LF or CR. OpenAI's streams
use LF; the others are understood too.
"""

import re

from tidegate_dataplane.proxy.usage import BYTES_PER_TOKEN, ESTIMATED, Tokens, read_report

# An event beyond this is not held back until it is whole: the stream ends with an error instead.
MAX_EVENT_BYTES = 8 * 1024 * 1024
_USAGE = b'"usage"'
_NO_USAGE_YET = b',"usage":null'
_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_DATA = re.compile(rb"(?:^|[\r\n])data: ?([^\r\n]*)")


class EventTooLarge(ValueError):
    """An event does not end."""


class EventRelay:
    """Takes a provider's chunks, gives the bytes to pass on: whole events only, so that an error can always follow.

    `hide_usage`: the caller did not ask for usage, so what says only that is left out.
    """

    __slots__ = ("_bytes", "_events", "_frame", "_hide", "_rest", "reported")

    def __init__(self, *, hide_usage: bool) -> None:
        self._hide = hide_usage
        self._rest = b""
        self._events = 0
        self._bytes = 0
        self._frame = 0
        self.reported: Tokens | None = None

    def feed(self, chunk: bytes) -> bytes:
        """Raises EventTooLarge."""
        data = self._rest + chunk if self._rest else chunk
        if data.endswith(b"\n\n"):
            self._rest = b""
        else:
            data = self._split(data)
            if not data:
                return b""
        if _USAGE in data:
            data = self._look(data)
        self._count(data)
        return data

    def finish(self) -> bytes:
        """What is left when the provider ended in good order without an empty line."""
        rest, self._rest = self._rest, b""
        return self._look(rest) if _USAGE in rest else rest

    def tokens(self, input: int) -> Tokens:
        """What the provider reported, else an estimate of what was passed on; `input` is that of the prompt."""
        if self.reported is not None:
            return self.reported
        text = (self._bytes - self._events * self._frame) // BYTES_PER_TOKEN
        return Tokens(input, max(self._events, text), ESTIMATED)

    def _split(self, data: bytes) -> bytes:
        end = 0
        for found in _END.finditer(data):
            end = found.end()
        self._rest = data[end:]
        if len(self._rest) > MAX_EVENT_BYTES:
            raise EventTooLarge(f"an event is longer than {MAX_EVENT_BYTES} bytes")
        return data[:end]

    def _look(self, data: bytes) -> bytes:
        kept: list[bytes] = []
        start = 0
        for found in [*_END.finditer(data), None]:
            end = len(data) if found is None else found.end()
            event = data[start:end]
            start = end
            if _USAGE in event:
                event = self._read(event)
            kept.append(event)
        return b"".join(kept)

    def _read(self, event: bytes) -> bytes:
        report = read_report(b"\n".join(_DATA.findall(event)))
        if report.tokens is not None:
            self.reported = report.tokens
        if not self._hide:
            return event
        return b"" if report.bare else event.replace(_NO_USAGE_YET, b"")

    def _count(self, data: bytes) -> None:
        events = data.count(b"data:")
        if events and not self._frame:
            # The first event of a chat says only who speaks: its length is that of a frame.
            self._frame = len(data) // events
        self._events += events
        self._bytes += len(data)
