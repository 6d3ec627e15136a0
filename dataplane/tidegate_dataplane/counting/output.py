"""The text of an answer: of a whole one, or of the events of a stream as they were delivered. Pure.

Source of the shapes: OpenAI API reference, "Chat completion chunk", "Completion object", "Responses: streaming events";
`reasoning_content` and `reasoning` are what DeepSeek, vLLM and others add to a delta.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
from msgspec import Struct

from tidegate_dataplane.counting.cuts import last_cut

Count = Callable[[str], int]

# Raw events kept before they are read, and text kept before a part of it is counted. A stream holds no more than that.
RAW_BYTES: Final = 16 * 1024
TEXT_CHARS: Final = 64 * 1024
_MAX_CHANNELS: Final = 512  # 128 choices with a few tool calls each; more share one
_DATA = re.compile(rb"(?:^|[\r\n])data: ?([^\r\n]+)")
_FIELDS: Final = ("content", "refusal", "reasoning_content", "reasoning")

_NO_TEXT: Final = frozenset({"role", "type", "id", "index"})

Channel = tuple[int, str]
_OVERFLOW: Final[Channel] = (-1, "")


class _Function(Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(Struct, gc=False):
    index: int = 0
    function: _Function | None = None


class _Delta(Struct, gc=False):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None


class _Choice(Struct, gc=False):
    index: int = 0
    delta: _Delta | None = None
    text: str | None = None


class _Event(Struct, gc=False):
    type: str = ""
    choices: list[_Choice] | None = None
    delta: str | None = None
    output_index: int = 0


_decode_event = msgspec.json.Decoder(_Event).decode
_decode = msgspec.json.Decoder().decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Delivered:
    """What a stream has given to its caller, as text by choice and kind. Events are kept as they are and read late:
    a stream whose provider reports in the end has cost an append for each chunk.

    `exact` turns False when text came in a form that is not OpenAI's.
    """

    __slots__ = ("_raw", "_raw_bytes", "_texts", "chars", "exact", "folded", "pieces")

    def __init__(self) -> None:
        self._raw: list[bytes] = []
        self._raw_bytes = 0
        self._texts: dict[Channel, list[str]] = {}
        self.chars = 0  # of text that is kept
        self.folded = 0  # tokens of text that was counted and let go of
        self.pieces = 0  # of text; each is a token at least
        self.exact = True

    def keep(self, data: bytes) -> None:
        """Whole events, as they go to the caller."""
        self._raw.append(data)
        self._raw_bytes += len(data)
        if self._raw_bytes > RAW_BYTES:
            self._read()

    def clear(self) -> None:
        """What was kept so far is in a provider's report."""
        self._raw.clear()
        self._texts.clear()
        self._raw_bytes = self.chars = self.folded = self.pieces = 0
        self.exact = True

    @property
    def is_long(self) -> bool:
        """Whether it is time to `fold`."""
        return self.chars > TEXT_CHARS

    @property
    def size(self) -> int:
        """About how much there is to count, in characters at most."""
        return self.chars + self._raw_bytes

    def is_empty(self) -> bool:
        """Whether no text was delivered since the last report."""
        if self._raw:
            self._read()
        return not self.chars and not self.folded

    def fold(self, count: Count) -> None:
        """Count what will not change any more, and keep only the last words of each text."""
        for channel, parts in self._texts.items():
            text = "".join(parts)
            # The last characters stay: a word may go on.
            end = last_cut(text, len(text) - 1) if len(text) > 1 else 0
            self.folded += count(text[:end])
            self._texts[channel] = [text[end:]]
        self.chars = sum(len(parts[0]) for parts in self._texts.values())

    def tokens(self, count: Count) -> int:
        """Of all that was delivered since the last report."""
        if self._raw:
            self._read()
        return self.folded + sum(count("".join(parts)) for parts in self._texts.values())

    def _read(self) -> None:
        data = b"".join(self._raw)
        self._raw.clear()
        self._raw_bytes = 0
        for event in _DATA.findall(data):
            if event.startswith(b"[DONE]"):
                continue
            try:
                self._take(_decode_event(event))
            except _UNREADABLE:
                self._take_loosely(event)

    def _take(self, event: _Event) -> None:
        if event.choices:
            for choice in event.choices:
                self._take_choice(choice)
        elif event.delta and _is_text(event.type):
            self._add((event.output_index, event.type), event.delta)

    def _take_choice(self, choice: _Choice) -> None:
        index, delta = choice.index, choice.delta
        if choice.text:
            self._add((index, "text"), choice.text)
        if delta is None:
            return
        if delta.content:
            self._add((index, "content"), delta.content)
        if delta.reasoning_content:
            self._add((index, "reasoning"), delta.reasoning_content)
        elif delta.reasoning:
            self._add((index, "reasoning"), delta.reasoning)
        if delta.refusal:
            self._add((index, "refusal"), delta.refusal)
        for call in delta.tool_calls or ():
            if call.function is not None:
                self._add_call((index, f"tool {call.index}"), call.function)
        if delta.function_call is not None:
            self._add_call((index, "function"), delta.function_call)

    def _add_call(self, channel: Channel, function: _Function) -> None:
        if function.name:
            self._add(channel, function.name)
        if function.arguments:
            self._add(channel, function.arguments)

    def _add(self, channel: Channel, text: str) -> None:
        parts = self._texts.get(channel)
        if parts is None:
            if len(self._texts) >= _MAX_CHANNELS:
                channel = _OVERFLOW
            parts = self._texts.setdefault(channel, [])
        parts.append(text)
        self.pieces += 1
        self.chars += len(text)

    def _take_loosely(self, event: bytes) -> None:
        """What the strict reader refuses: half a surrogate pair, or text in a form of the provider's own."""
        try:
            value = json.loads(event)
        except (ValueError, RecursionError):
            return  # nothing that a caller could read
        try:
            self._take(msgspec.convert(value, _Event))
        except msgspec.ValidationError:
            self.exact = False
            choices = value.get("choices") if isinstance(value, dict) else None
            for number, choice in enumerate(_objects(choices)):
                self._add((number, "content"), "".join(_strings(choice.get("delta"))))


def _is_text(type: str) -> bool:
    """Whether an event of a Responses stream brings text: not the sound itself, which comes in base64."""
    return type.startswith("response.") and type.endswith(".delta") and type != "response.audio.delta"


def texts_of(body: bytes) -> list[str] | None:
    """The texts that the model wrote in an answer that is not streamed; None when the body cannot be read."""
    try:
        answer = _decode(body)
    except _UNREADABLE:
        return None
    if not isinstance(answer, dict):
        return None
    return list(_of_choices(answer.get("choices"))) + list(_of_items(answer.get("output")))


def _of_choices(choices: Any) -> Iterator[str]:
    for choice in _objects(choices):
        yield from _text(choice.get("text"))
        message = choice.get("message")
        if isinstance(message, dict):
            for name in _FIELDS:
                yield from _text(message.get(name))
            for call in [*_objects(message.get("tool_calls")), {"function": message.get("function_call")}]:
                yield from _of_call(call.get("function"))


def _of_items(items: Any) -> Iterator[str]:
    for item in _objects(items):
        yield from _of_call(item)
        for part in [*_objects(item.get("content")), *_objects(item.get("summary"))]:
            yield from _text(part.get("text"))
            yield from _text(part.get("refusal"))


def _of_call(function: Any) -> Iterator[str]:
    if isinstance(function, dict):
        written = [function.get(name) for name in ("name", "arguments", "input")]
        yield from _text("".join(each for each in written if isinstance(each, str)))


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        yield from (each for each in value if isinstance(each, dict))


def _strings(value: Any) -> Iterator[str]:
    """What is written anywhere inside a delta, but not what it is called. The reader of JSON bounds the depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            if name not in _NO_TEXT:
                yield from _strings(each)


def _text(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value:
        yield value
