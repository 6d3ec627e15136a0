"""What a provider reports of usage, read with care.

Of a report only what can be is believed. A number is a whole one from 0 to MAX_TOKENS (12.0 is 12; true, "12", -1 and
1e30 are none). Parts are cut to what they are parts of: cached input to input, reasoning to output. An input of 0
is no report, for no prompt is empty, and neither is an output of 0 after text came (`measuring.py`): some servers send
zeros where they do not count. What is not believed is counted here instead.

Nearly every report is as the reference has it, so that is tried first and is cheap; whatever is odd about one, it is
read again with more care.

Source of the members: OpenAI API reference, `usage` of Chat, Completion, Embeddings, Responses and Images, and
`service_tier` beside it.
"""

import re
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from tidegate_dataplane.pricing.usage import Usage
from tidegate_dataplane.proxy.usage import REPORTED

MAX_TOKENS: Final = 1_000_000_000  # beyond any context; what is larger is not believed


class Report(NamedTuple):
    """What a provider says. A number that it does not say, or that cannot be, is 0 in `usage`."""

    usage: Usage
    has_input: bool


class EventReport(NamedTuple):
    """What an event says of usage; `bare` when it says nothing else."""

    report: Report | None
    bare: bool


class _Read(Struct, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class _Written(Struct, gc=False):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class _Usage(Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Read | None = None
    completion_tokens_details: _Written | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Read | None = None
    output_tokens_details: _Written | None = None


class _Answer(Struct, gc=False):
    usage: _Usage | None = None
    service_tier: str | None = None


class _Event(Struct):
    usage: _Usage | None = None
    service_tier: str | None = None
    response: _Answer | None = None  # the last event of a Responses stream
    choices: msgspec.Raw = msgspec.Raw()


class _OddAnswer(Struct):
    usage: Any = None
    service_tier: Any = None


class _OddEvent(Struct):
    usage: Any = None
    service_tier: Any = None
    response: Any = None
    choices: msgspec.Raw = msgspec.Raw()


class _Pictures(Struct):
    data: list[msgspec.Raw] = []


_LONGEST_NAME: Final = 64
_NO_CHOICES = re.compile(rb"\s*\[\s*\]\s*").fullmatch
_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_event = msgspec.json.Decoder(_Event).decode
_decode_odd_answer = msgspec.json.Decoder(_OddAnswer).decode
_decode_odd_event = msgspec.json.Decoder(_OddEvent).decode
_decode_pictures = msgspec.json.Decoder(_Pictures).decode
_NOTHING = EventReport(None, bare=False)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_usage(body: bytes) -> Report | None:
    """What a whole JSON answer reports; None when it says nothing that can be believed."""
    try:
        answer = _decode_answer(body)
        if answer.usage is None:
            return None
        report = _plain(answer.usage, answer.service_tier)
    except msgspec.ValidationError:
        report = None
    except _UNREADABLE:
        return None
    if report is not None:
        return report
    try:
        odd = _decode_odd_answer(body)
    except _UNREADABLE:
        return None
    return _careful(odd.usage, odd.service_tier)


def read_event(data: bytes) -> EventReport:
    """As `read_usage`, for the data of an event."""
    try:
        event = _decode_event(data)
    except msgspec.ValidationError:
        return _read_odd_event(data)
    except _UNREADABLE:
        return _NOTHING
    usage, service = event.usage, event.service_tier
    if usage is None and event.response is not None:
        usage, service = event.response.usage, event.response.service_tier
    if usage is None:
        return _NOTHING
    report = _plain(usage, service)
    return _read_odd_event(data) if report is None else EventReport(report, _is_bare(event.choices))


def count_pictures(body: bytes) -> int:
    """How many pictures an answer of Images holds."""
    try:
        return len(_decode_pictures(body).data)
    except _UNREADABLE:
        return 0


def _plain(usage: _Usage, service: str | None) -> Report | None:
    """A report in which everything is as it should be; None when it is to be read with care."""
    input, output = usage.prompt_tokens, usage.completion_tokens
    if input is None and output is None:
        input, output = usage.input_tokens, usage.output_tokens
    elif usage.input_tokens is not None or usage.output_tokens is not None:
        return None
    read = usage.prompt_tokens_details or usage.input_tokens_details or _NOTHING_READ
    written = usage.completion_tokens_details or usage.output_tokens_details or _NOTHING_WRITTEN
    tokens = input or 0
    cached, writes = read.cached_tokens or 0, read.cache_write_tokens or 0
    heard, seen = read.audio_tokens or 0, read.image_tokens or 0
    total = output or 0
    thought, said, drawn = written.reasoning_tokens or 0, written.audio_tokens or 0, written.image_tokens or 0
    if (
        not 0 < tokens <= MAX_TOKENS
        or not 0 <= total <= MAX_TOKENS
        or min(cached, writes, heard, seen, thought, said, drawn) < 0
        or max(cached + writes, heard, seen) > tokens
        or max(thought, said, drawn) > total
        or (service is not None and len(service) > _LONGEST_NAME)
    ):
        return None
    found = Usage(tokens, total, cached, writes, thought, heard, said, seen, drawn, 0, REPORTED, service or "")
    return Report(found, has_input=True)


_NOTHING_READ = _Read()
_NOTHING_WRITTEN = _Written()


def _read_odd_event(data: bytes) -> EventReport:
    try:
        event = _decode_odd_event(data)
    except _UNREADABLE:
        return _NOTHING
    usage, service = event.usage, event.service_tier
    if usage is None and isinstance(event.response, dict):
        usage, service = event.response.get("usage"), event.response.get("service_tier")
    if usage is None:
        return _NOTHING
    return EventReport(_careful(usage, service), _is_bare(event.choices))


def _is_bare(choices: msgspec.Raw) -> bool:
    return _NO_CHOICES(bytes(choices)) is not None


def _careful(usage: Any, service: Any) -> Report | None:
    if not isinstance(usage, dict):
        return None
    told = _larger(usage, "prompt_tokens", "input_tokens")
    output_told = _larger(usage, "completion_tokens", "output_tokens")
    if not told and not output_told:
        return None
    input, output = told or 0, output_told or 0
    read = _parts(usage, "prompt_tokens_details", "input_tokens_details")
    written = _parts(usage, "completion_tokens_details", "output_tokens_details")
    cached = min(_number(read.get("cached_tokens")) or 0, input)
    found = Usage(
        input=input,
        output=output,
        cached=cached,
        cache_write=min(_number(read.get("cache_write_tokens")) or 0, input - cached),
        reasoning=min(_number(written.get("reasoning_tokens")) or 0, output),
        input_audio=min(_number(read.get("audio_tokens")) or 0, input),
        output_audio=min(_number(written.get("audio_tokens")) or 0, output),
        input_image=min(_number(read.get("image_tokens")) or 0, input),
        output_image=min(_number(written.get("image_tokens")) or 0, output),
        source=REPORTED,
        service=service if isinstance(service, str) and len(service) <= _LONGEST_NAME else "",
    )
    return Report(found, has_input=bool(told))


def _larger(usage: dict[str, Any], name: str, other: str) -> int | None:
    """Of a number that goes by one of two names."""
    found = [number for number in (_number(usage.get(name)), _number(usage.get(other))) if number is not None]
    return max(found, default=None)


def _parts(usage: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        found = usage.get(name)
        if isinstance(found, dict):
            return found
    return {}


def _number(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is int and 0 <= value <= MAX_TOKENS:
        return value
    return None
