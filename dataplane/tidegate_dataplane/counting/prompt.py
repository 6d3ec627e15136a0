"""How many tokens a prompt has. Pure, and slow for long prompts.

Source of what a message costs beside its text: OpenAI cookbook, "How to count tokens with tiktoken": 3 tokens for each
message, its role, 1 more when it has a name, and 3 that begin the answer. What is no text (pictures, sound, files,
tools, what the provider remembers) no tokenizer can count here: then the number is an estimate and says so.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from tidegate_dataplane.counting.tokenizer import BYTES_PER_TOKEN
from tidegate_dataplane.snapshot.entries import Operation

Count = Callable[[str], int]
Fields = Mapping[str, msgspec.Raw]

_PER_MESSAGE: Final = 3
_PER_NAME: Final = 1
_ANSWER: Final = 3
# OpenAI, "Images and vision": 85 tokens at low detail, 85 + 4 tiles of 170 for a square picture at high detail.
_IMAGE_LOW: Final = 85
_IMAGE: Final = 765
_TEXTS: Final = frozenset({"text", "input_text", "output_text", "summary_text", "reasoning_text"})
_PLAIN: Final = {
    Operation.COMPLETION: "prompt",
    Operation.EMBEDDINGS: "input",
    Operation.IMAGE: "prompt",
    Operation.MODERATION: "input",
}
# What the model reads beside the messages, in a form of the provider's own.
_BESIDE: Final = ("tools", "functions", "response_format")
_REMEMBERED: Final = ("previous_response_id", "conversation", "prompt")

_decode = msgspec.json.Decoder().decode


class Counted(Struct, frozen=True, gc=False):
    """A number of tokens. `exact` is False when a part of it had to be estimated."""

    tokens: int
    exact: bool


class _Reader:
    """Adds up a prompt's parts."""

    def __init__(self, count: Count) -> None:
        self.count = count
        self.tokens = 0
        self.exact = True

    def text(self, value: object) -> None:
        if isinstance(value, str):
            self.tokens += self.count(value)
        elif value is not None:
            self.guess(value)

    def guess(self, value: object) -> None:
        self.exact = False
        self.tokens += -(-len(msgspec.json.encode(value)) // BYTES_PER_TOKEN)

    def message(self, message: object) -> None:
        if not isinstance(message, dict):
            self.guess(message)
            return
        self.tokens += _PER_MESSAGE
        self.text(message.get("role"))
        self.content(message.get("content"))
        if "name" in message:
            self.tokens += _PER_NAME
            self.text(message["name"])
        for name in ("refusal", "tool_call_id"):
            self.text(message.get(name))
        for name in ("tool_calls", "function_call", "audio"):
            if message.get(name):
                self.guess(message[name])

    def content(self, content: object) -> None:
        if not isinstance(content, list):
            self.text(content)
            return
        for part in content:
            self.part(part)

    def part(self, part: object) -> None:
        if not isinstance(part, dict):
            self.text(part)
            return
        kind = part.get("type")
        if not isinstance(kind, str):
            self.guess(part)
        elif kind in _TEXTS:
            self.text(part.get("text"))
        elif kind == "refusal":
            self.text(part.get("refusal"))
        elif kind in ("image_url", "input_image"):
            self.exact = False
            self.tokens += _IMAGE_LOW if _is_low(part) else _IMAGE
        else:
            self.guess(part)

    def plain(self, value: object) -> None:
        """A text, several, tokens, or several lists of tokens."""
        if not isinstance(value, list):
            self.text(value)
        elif all(type(each) is int for each in value):
            self.tokens += len(value)
        else:
            for each in value:
                if isinstance(each, list) and not all(type(number) is int for number in each):
                    self.guess(each)
                else:
                    self.plain(each)

    def items(self, value: object) -> None:
        """The input of a Responses call: a text, which is a message, or items."""
        for item in value if isinstance(value, list) else [{"role": "user", "content": value}]:
            if isinstance(item, dict) and item.get("type", "message") == "message":
                self.message(item)
            else:
                self.guess(item)


def count_prompt(operation: Operation, fields: Fields, count: Count) -> Counted:
    """Of a request's fields as `read_prompt` leaves them; `count` counts a text. Never raises for what a caller sent:
    what is not understood is estimated."""
    reader = _Reader(count)
    match operation:
        case Operation.CHAT:
            messages = _value(fields, "messages")
            for message in messages if isinstance(messages, list) else [messages]:
                reader.message(message)
            reader.tokens += _ANSWER
        case Operation.RESPONSES:
            if fields.get("instructions") is not None:
                reader.message({"role": "system", "content": _value(fields, "instructions")})
            if fields.get("input") is not None:
                reader.items(_value(fields, "input"))
            reader.tokens += _ANSWER
            if any(_is_given(fields, name) for name in _REMEMBERED):
                reader.exact = False
        case _:
            name = _PLAIN.get(operation)
            if name is not None:
                reader.plain(_value(fields, name))
    for name in _BESIDE:
        if _is_given(fields, name):
            reader.exact = False
            reader.tokens += count(bytes(fields[name]).decode("utf-8", "replace"))
    return Counted(max(1, reader.tokens), reader.exact)


def _value(fields: Fields, name: str) -> Any:
    try:
        return _decode(fields[name])
    except (KeyError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return bytes(fields.get(name, b"")).decode("utf-8", "replace")


def _is_given(fields: Fields, name: str) -> bool:
    return name in fields and bytes(fields[name]) not in (b"null", b"[]", b"{}", b'""')


def _is_low(part: Mapping[str, object]) -> bool:
    inner = part.get("image_url")
    detail = inner.get("detail") if isinstance(inner, dict) else part.get("detail")
    return detail == "low"
