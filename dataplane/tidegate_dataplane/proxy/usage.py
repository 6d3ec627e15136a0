"""How many tokens a request used: what the provider reports, or else an estimate.

Estimates. Input: the bytes of the prompt as JSON, a quarter token each, at least one; English text takes about four
characters a token (OpenAI, "What are tokens and how to count them?"), and JSON's own characters make the estimate err
upwards. Output that is reserved: what the caller allows, else DEFAULT_OUTPUT_TOKENS. Output of a stream without a
report: one token for each event, or a quarter token for each byte beyond the events' frames, whichever is more.
"""

import re
from typing import NamedTuple

import msgspec
from msgspec import Struct

from tidegate_dataplane.snapshot.entries import Operation

DEFAULT_OUTPUT_TOKENS = 1024
BYTES_PER_TOKEN = 4
_GENERATING = frozenset({Operation.CHAT, Operation.COMPLETION, Operation.RESPONSES})

REPORTED = "Reported"
ESTIMATED = "Estimated"


class Tokens(NamedTuple):
    """What was used; `source` is REPORTED or ESTIMATED."""

    input: int
    output: int
    source: str


class _Usage(Struct):
    """Chat, Completion and Embeddings say prompt/completion, Responses and Images input/output."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Inner(Struct):
    usage: _Usage | None = None


class _Answer(Struct):
    usage: _Usage | None = None


class _Event(Struct):
    usage: _Usage | None = None
    response: _Inner | None = None  # the last event of a Responses stream
    choices: msgspec.Raw = msgspec.Raw()


_NO_CHOICES = re.compile(rb"\s*\[\s*\]\s*").fullmatch
_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_event = msgspec.json.Decoder(_Event).decode


class Report(NamedTuple):
    """What an event says of usage; `bare` when it says nothing else."""

    tokens: Tokens | None
    bare: bool


_NOTHING = Report(None, bare=False)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_usage(body: bytes) -> Tokens | None:
    """What a whole JSON answer reports; None when it says nothing that can be read."""
    try:
        usage = _decode_answer(body).usage
    except _UNREADABLE:
        return None
    return None if usage is None else _tokens(usage)


def read_report(data: bytes) -> Report:
    """As `read_usage`, for the data of an event."""
    try:
        found = _decode_event(data)
    except _UNREADABLE:
        return _NOTHING
    usage = found.usage
    if usage is None and found.response is not None:
        usage = found.response.usage
    if usage is None:
        return _NOTHING
    return Report(_tokens(usage), bare=_NO_CHOICES(bytes(found.choices)) is not None)


def _tokens(usage: _Usage) -> Tokens:
    input = usage.prompt_tokens or usage.input_tokens or 0
    output = usage.completion_tokens or usage.output_tokens or 0
    return Tokens(max(input, 0), max(output, 0), REPORTED)


def estimate_input(prompt_bytes: int) -> int:
    return max(1, -(-prompt_bytes // BYTES_PER_TOKEN))


def reserve_output(operation: Operation, allowed: int | None, choices: int) -> int:
    """Tokens to reserve before the call."""
    if operation not in _GENERATING:
        return 0
    return (DEFAULT_OUTPUT_TOKENS if allowed is None else allowed) * choices


def estimate_whole(operation: Operation, input: int, body: bytes) -> Tokens:
    """For an answer that reports nothing."""
    output = max(1, len(body) // BYTES_PER_TOKEN) if operation in _GENERATING else 0
    return Tokens(input, output, ESTIMATED)
