"""Server-sent events on their way through: kept whole, looked into only where usage may stand. Pure.

Source: WHATWG HTML, "Server-sent events": events end at an empty line; lines end at CR LF, LF or CR. OpenAI's streams
use LF; the others are understood too.
"""

import re
from typing import Final

from msgspec.structs import replace

from tidegate_dataplane.counting.output import Delivered
from tidegate_dataplane.counting.tokenizer import BYTES_PER_TOKEN
from tidegate_dataplane.proxy.reports import Report, read_event

# An event beyond this is not held back until it is whole: the stream ends with an error instead.
MAX_EVENT_BYTES = 8 * 1024 * 1024
_USAGE = b'"usage"'
_NO_USAGE_YET = b',"usage":null'
_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_DATA = re.compile(rb"(?:^|[\r\n])data: ?([^\r\n]*)")
# Events that bring no text: who speaks, why it ended, a report, the end. In text the quotes are escaped.
_SILENT: Final = (b'"content":""', b'"delta":{}', b'"choices":[]', b"data: [DONE]")
_MAX_FRAME: Final = 384  # bytes of an event beside its text; OpenAI's chunks have 150 to 350


class EventRelay:
    """Takes a provider's chunks, gives the bytes to pass on: whole events only, so that an error can always follow.

    `hide_usage`: the caller did not ask for usage, so what says only that is left out. `report` is what the provider
    said last, `delivered` the text since then that was passed on (tell by `passed`). `estimate` is a cheap number of
    tokens in all that `feed` returned, `fresh` in the last: one for each event with text, or a quarter for each byte
    beyond the events' frames.
    """

    __slots__ = (
        "_bytes",
        "_covered",
        "_events",
        "_frame",
        "_hide",
        "_rest",
        "_silent",
        "delivered",
        "estimate",
        "fresh",
        "report",
    )

    def __init__(self, *, hide_usage: bool) -> None:
        self._hide = hide_usage
        self._rest = b""
        self._events = 0
        self._silent = 0
        self._bytes = 0
        self._frame = 0
        self._covered = 0  # bytes at the beginning of what `feed` returned last that a report speaks of
        self.estimate = 0
        self.fresh = 0
        self.report: Report | None = None
        self.delivered = Delivered()

    def feed(self, chunk: bytes) -> bytes:
        """Raises EventTooLarge."""
        data = self._rest + chunk if self._rest else chunk
        if data.endswith(b"\n\n"):
            self._rest = b""
        else:
            data = self._split(data)
            if not data:
                return b""
        return self._ready(data)

    def finish(self) -> bytes:
        """What is left when the provider ended in good order without an empty line."""
        rest, self._rest = self._rest, b""
        return self._ready(rest) if rest else b""

    def passed(self, data: bytes) -> None:
        """What `feed` or `finish` returned last has gone to the caller."""
        covered, self._covered = self._covered, 0
        if covered:
            data = data[covered:]
        if data:
            self.delivered.keep(data)

    def _ready(self, data: bytes) -> bytes:
        if _USAGE in data:
            # Asked for usage, OpenAI says null with each event but the last. In text the quotes are escaped.
            if data.count(_USAGE) == data.count(_NO_USAGE_YET):
                data = data.replace(_NO_USAGE_YET, b"") if self._hide else data
            else:
                data = self._look(data)
        events = data.count(b"data:")
        if events and not self._frame:
            # The first event of a chat says only who speaks: its length is that of a frame.
            self._frame = min(len(data) // events, _MAX_FRAME)
        self._events += events
        for mark in _SILENT:
            self._silent += data.count(mark)
        self._bytes += len(data)
        told = self.estimate
        text = (self._bytes - self._events * self._frame) // BYTES_PER_TOKEN
        self.estimate = max(self._events - self._silent, text, told)
        self.fresh = self.estimate - told
        return data

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
        size = start = 0
        for found in [*_END.finditer(data), None]:
            end = len(data) if found is None else found.end()
            event = data[start:end]
            start = end
            reports = False
            if _USAGE in event:
                event, reports = self._read(event)
            kept.append(event)
            size += len(event)
            if reports:
                self.delivered.clear()
                self._covered = size
        return b"".join(kept)

    def _read(self, event: bytes) -> tuple[bytes, bool]:
        """What to pass on of an event, and whether it reports what was written so far."""
        report, bare = read_event(b"\n".join(_DATA.findall(event)))
        if report is not None:
            before = self.report
            if before is not None and not report.has_input:
                usage = replace(report.usage, input=before.usage.input, cached=before.usage.cached)
                report = Report(usage, before.has_input)
            self.report = report
        if self._hide:
            event = b"" if bare else event.replace(_NO_USAGE_YET, b"")
        return event, report is not None and report.usage.output > 0


class EventTooLarge(ValueError):
    """An event does not end."""
