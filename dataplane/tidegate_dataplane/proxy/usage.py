"""What a provider reports of usage, read with care, and what is reserved before it can.

Of a report only what can be is believed. A number is a whole one from 0 to MAX_TOKENS (12.0 is 12; true, "12", -1 and
1e30 are none). Parts are cut to what they are parts of: cached input to input, reasoning to output. An input of 0
is no report, for no prompt is empty, and neither is an output of 0 after text came (`charging.py`): some servers send
zeros where they do not count. What is not believed is counted here instead.

Estimates. Input: the bytes of the prompt as JSON, a quarter token each, at least one; English text takes about four
characters a token (OpenAI, "What are tokens and how to count them?"), and JSON's own characters make the estimate err
upwards. What is reserved errs upwards for other texts too (`bound_input`). Output that is reserved: what the caller
allows, else DEFAULT_OUTPUT_TOKENS.

Source of the members: OpenAI API reference, `usage` of Chat, Completion, Embeddings, Responses and Images, and
`service_tier` beside it.
"""

import re
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from tidegate_dataplane.pricing.usage import Usage
from tidegate_dataplane.snapshot.entries import Operation

DEFAULT_OUTPUT_TOKENS: Final = 1024
BYTES_PER_TOKEN: Final = 4
MAX_TOKENS: Final = 1_000_000_000  # beyond any context; what is larger is not believed
# A large picture takes 1,445 (OpenAI, "Images and vision") or 1,600 (Anthropic, "Vision").
PICTURE_TOKENS: Final = 1_600
GENERATING: Final = frozenset({Operation.CHAT, Operation.COMPLETION, Operation.RESPONSES})

REPORTED: Final = "Reported"  # by the provider
COUNTED: Final = "Counted"  # here, by the model's own tokenizer
ESTIMATED: Final = "Estimated"  # from the number of bytes


class Report(NamedTuple):
    """What a provider says. A number that it does not say, or that cannot be, is 0 in `usage` and named so here."""

    usage: Usage
    has_input: bool
    has_output: bool


class EventReport(NamedTuple):
    """What an event says of usage; `bare` when it says nothing else."""

    report: Report | None
    bare: bool


class _Answer(Struct):
    usage: Any = None
    service_tier: Any = None


class _Pictures(Struct):
    data: list[msgspec.Raw] = []


class _Event(Struct):
    usage: Any = None
    service_tier: Any = None
    response: _Answer | None = None  # the last event of a Responses stream
    choices: msgspec.Raw = msgspec.Raw()


_LONGEST_NAME: Final = 64
_LETTERS: Final = b" abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DATA_URL: Final = re.compile(rb'"(?:url|image_url)"\s*:\s*"data:image/')
_NO_CHOICES = re.compile(rb"\s*\[\s*\]\s*").fullmatch
_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_pictures = msgspec.json.Decoder(_Pictures).decode
_decode_event = msgspec.json.Decoder(_Event).decode
_DETAILS: Final = (
    "prompt_tokens_details",
    "completion_tokens_details",
    "input_tokens_details",
    "output_tokens_details",
)
_NOTHING = EventReport(None, bare=False)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_usage(body: bytes) -> Report | None:
    """What a whole JSON answer reports; None when it says nothing that can be believed."""
    try:
        found = _decode_answer(body)
    except _UNREADABLE:
        return None
    return _report(found.usage, found.service_tier)


def read_event(data: bytes) -> EventReport:
    """As `read_usage`, for the data of an event."""
    try:
        found = _decode_event(data)
    except _UNREADABLE:
        return _NOTHING
    usage, service = found.usage, found.service_tier
    if usage is None and found.response is not None:
        usage, service = found.response.usage, found.response.service_tier
    if usage is None:
        return _NOTHING
    return EventReport(_report(usage, service), bare=_NO_CHOICES(bytes(found.choices)) is not None)


def count_pictures(body: bytes) -> int:
    """How many pictures an answer of Images holds."""
    try:
        return len(_decode_pictures(body).data)
    except _UNREADABLE:
        return 0


def estimate_input(prompt_bytes: int) -> int:
    """What to reserve for a prompt."""
    return max(1, -(-prompt_bytes // BYTES_PER_TOKEN))


def bound_input(text: bytes) -> int:
    """What to reserve for a field of a request as JSON: it should rarely be less than what a model reads.

    A quarter token for each letter and space and half a token for each other byte: digits, marks, and what is not
    ASCII. By OpenAI's tokenizers that is 1.1 times what prose and code take, 1.2 to 4 times what Arabic, Chinese, Hindi
    or Russian take, and too little only for what nobody writes (random letters, emoji alone: down to 0.4). A picture
    counts as PICTURE_TOKENS, however many bytes it has. About a microsecond a kilobyte.
    """
    pictures = 0
    if b"image" in text:
        # In a text the quotes would be escaped.
        pictures = max(-(-text.count(b'"image_url"') // 2), text.count(b'"input_image"'))
        if b'"data:image/' in text:
            text = _without_data(text)
    size = len(text)
    return -(-(2 * size - (size - len(text.translate(None, _LETTERS)))) // 4) + pictures * PICTURE_TOKENS


def _without_data(text: bytes) -> bytes:
    kept: list[bytes] = []
    start = 0
    for found in _DATA_URL.finditer(text):
        if found.end() < start:
            continue
        kept.append(text[start : found.end()])
        start = max(text.find(b'"', found.end()), found.end())
    kept.append(text[start:])
    return b"".join(kept)


def reserve_output(operation: Operation, allowed: int | None, choices: int) -> int:
    """Tokens to reserve before the call."""
    if operation not in GENERATING:
        return 0
    # To some servers 0 means no limit.
    return (DEFAULT_OUTPUT_TOKENS if allowed is None else max(1, allowed)) * choices


def _report(usage: Any, service: Any) -> Report | None:
    if not isinstance(usage, dict):
        return None
    input = _first(usage, "prompt_tokens", "input_tokens")
    output = _first(usage, "completion_tokens", "output_tokens")
    if not input and not output:
        return None
    tier = service if isinstance(service, str) and len(service) <= _LONGEST_NAME else ""
    believed = Usage(input or 0, output or 0, source=REPORTED, service=tier)
    for name in _DETAILS:
        if isinstance(usage.get(name), dict):
            believed = _detailed(believed, usage)
            break
    return Report(believed, has_input=bool(input), has_output=output is not None)


def _detailed(usage: Usage, told: dict[str, Any]) -> Usage:
    """With the parts of input and output that are told."""
    input, output = usage.input, usage.output
    read = _parts(told, "prompt_tokens_details", "input_tokens_details")
    written = _parts(told, "completion_tokens_details", "output_tokens_details")
    cached = min(_number(read.get("cached_tokens")) or 0, input)
    return Usage(
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
        service=usage.service,
    )


def _first(usage: dict[str, Any], name: str, other: str) -> int | None:
    """A number that goes by one of two names: the larger, should both stand there."""
    one = _number(usage.get(name))
    two = _number(usage.get(other)) if other in usage else None
    return one if two is None or (one is not None and one > two) else two


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
