"""Reading a request: the body within its bounds, its JSON once, and of its fields what the gateway needs.

Fields are kept as the caller wrote them and encoded again on the way out; of a name that stands twice the last one
counts, and only that one is sent, so that what was judged is what the provider reads.
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import msgspec
from msgspec import Struct

from tidegate_dataplane.errors import Failure, body_too_large, overloaded
from tidegate_dataplane.proxy.room import Share
from tidegate_dataplane.proxy.usage import bound_input
from tidegate_dataplane.snapshot.entries import Operation

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Fields = dict[str, msgspec.Raw]

MAX_MODEL_LENGTH = 256
_MAX_TOKENS = 2**31 - 1
_MAX_CHOICES = 128
_STRING, _ARRAY, _OBJECT = b'"', b"[", b"{"

# The field that holds the prompt (of a fine-tuning job: the name of a file that the provider has), the JSON types it
# may have, and whether the request has no meaning without it.
_PROMPT: Mapping[Operation, tuple[str, bytes, str, bool]] = {
    Operation.CHAT: ("messages", _ARRAY, "an array of messages", True),
    Operation.COMPLETION: ("prompt", _STRING + _ARRAY, "a string or an array", True),
    Operation.RESPONSES: ("input", _STRING + _ARRAY, "a string or an array", False),
    Operation.EMBEDDINGS: ("input", _STRING + _ARRAY, "a string or an array", True),
    Operation.IMAGE: ("prompt", _STRING, "a string", True),
    Operation.MODERATION: ("input", _STRING + _ARRAY, "a string or an array", True),
    Operation.FINE_TUNE: ("training_file", _STRING, "a string", True),
}
_OUTPUT_LIMITS: Mapping[Operation, tuple[str, ...]] = {
    Operation.CHAT: ("max_completion_tokens", "max_tokens"),
    Operation.COMPLETION: ("max_tokens",),
    Operation.RESPONSES: ("max_output_tokens",),
}
_decode_fields = msgspec.json.Decoder(Fields).decode
_decode_string = msgspec.json.Decoder(str).decode
_decode_flag = msgspec.json.Decoder(bool | None).decode
_decode_integer = msgspec.json.Decoder(int | None).decode
_decode_object = msgspec.json.Decoder(Fields | None).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
# A model may read any field that is longer; of the named ones it is known that none does. Where all that is not the
# prompt is short, nobody looks.
_SHORT = 64
_REST = 256
_UNREAD = frozenset({"metadata", "logit_bias", "user", "safety_identifier", "prompt_cache_key", "stream_options"})


class CallerGone(Exception):
    """The caller closed the connection before the request was complete."""


class Prompt(Struct, gc=False):
    """A request's body, read. `max_output` is None when the caller sets no limit; sizes in bytes. `prompt_tokens` is
    what to reserve for all that a model may read, `choices` how many answers it writes."""

    fields: Fields
    model: str
    streamed: bool
    wants_usage: bool
    prompt_bytes: int
    prompt_tokens: int
    body_bytes: int
    max_output: int | None
    choices: int


async def read_body(receive: Receive, headers: Mapping[str, str], limit: int, share: Share | None = None) -> bytes:
    """Return the whole body, of a stranger as far as its `share` goes. Raises Failure (413, 503) and CallerGone. The
    listener bounds the time."""
    declared = headers.get("content-length", "")
    if len(declared) > 7 and int(declared) > limit:
        raise body_too_large(limit)
    message = await receive()
    if message["type"] != "http.request":
        raise CallerGone
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(body) > limit:
            raise body_too_large(limit)
        return body
    return await _read_rest(receive, body, limit, share)


async def _read_rest(receive: Receive, first: bytes, limit: int, share: Share | None) -> bytes:
    parts = [first]
    size = len(first)
    if share is not None and not share.take(size):
        raise overloaded()
    while size <= limit:
        message = await receive()
        if message["type"] != "http.request":
            raise CallerGone
        part = message.get("body", b"")
        if share is not None and not share.take(len(part)):
            raise overloaded()
        parts.append(part)
        size += len(part)
        if not message.get("more_body", False):
            break
    if size > limit:
        raise body_too_large(limit)
    return b"".join(parts)


def read_prompt(body: bytes, operation: Operation) -> Prompt:
    """Read the JSON of an inference request. Raises Failure (400) that names the field."""
    fields = _read_fields(body)
    if "background" in fields:
        _refuse_background(fields)
    model = _read_model(fields)
    prompt_bytes = _field_bytes(fields, operation)
    return Prompt(
        fields=fields,
        model=model,
        streamed="stream" in fields and _read(fields, "stream", _decode_flag, "true or false") is True,
        wants_usage="stream_options" in fields and _wants_usage(fields),
        prompt_bytes=prompt_bytes,
        prompt_tokens=_prompt_tokens(fields, operation, len(body), prompt_bytes),
        body_bytes=len(body),
        max_output=_max_output(fields, operation),
        choices=_choices(fields, operation),
    )


def _read_fields(body: bytes) -> Fields:
    try:
        if not body.isascii():
            body.decode()  # msgspec looks only at the text it is asked for
        return _decode_fields(body)
    except UnicodeDecodeError as error:
        raise Failure(400, "invalid_encoding", f"The body is not UTF-8 (byte {error.start}).") from None
    except RecursionError:
        raise Failure(400, "invalid_json", "The body is nested too deeply.") from None
    except msgspec.ValidationError:
        raise Failure(400, "invalid_json", "The body must be a JSON object.") from None
    except msgspec.DecodeError as error:
        what = "The body is empty; send a JSON object." if not body else f"The body is not valid JSON: {error}."
        raise Failure(400, "invalid_json", what) from None


def _read_model(fields: Fields) -> str:
    if "model" not in fields:
        raise Failure(400, "missing_required_parameter", "You must provide a model parameter.", param="model")
    model = _read(fields, "model", _decode_string, "a string")
    if not isinstance(model, str) or not model or len(model) > MAX_MODEL_LENGTH or not model.isprintable():
        message = f"model must be a name of 1 to {MAX_MODEL_LENGTH} printable characters."
        raise Failure(400, "invalid_value", message, param="model")
    return model


def _field_bytes(fields: Fields, operation: Operation) -> int:
    """Check the type of the prompt, and return its size."""
    name, starts, types, required = _PROMPT[operation]
    raw = fields.get(name)
    if raw is None:
        if required:
            raise Failure(400, "missing_required_parameter", f"Missing required parameter: {name}.", param=name)
        return 0
    text = memoryview(raw)
    if text[0] not in starts:
        if not required and bytes(text) == b"null":
            return 0
        raise _wrong_type(name, types)
    return len(text)


def _prompt_tokens(fields: Fields, operation: Operation, body_bytes: int, prompt_bytes: int) -> int:
    name = _PROMPT[operation][0]
    tokens = bound_input(bytes(fields[name])) if name in fields else 0
    if body_bytes - prompt_bytes > _REST:
        for key, raw in fields.items():
            if key != name and len(memoryview(raw)) > _SHORT and key not in _UNREAD:
                tokens += bound_input(bytes(raw))
    return max(1, tokens)


def _choices(fields: Fields, operation: Operation) -> int:
    """How many answers are written, including those that only compete to be the one that is sent."""
    choices = (_bounded(fields, "n", 1, _MAX_CHOICES) or 1) if "n" in fields else 1
    if "best_of" in fields:
        choices = max(choices, _bounded(fields, "best_of", 0, _MAX_CHOICES) or 1)
    if operation is Operation.COMPLETION and memoryview(fields["prompt"])[0:1] == _ARRAY:
        prompts = _decode_list(fields["prompt"])
        if prompts and memoryview(prompts[0])[0] in _STRING + _ARRAY:
            choices *= len(prompts)  # each of them is answered
    return choices


def _refuse_background(fields: Fields) -> None:
    if _read(fields, "background", _decode_flag, "true or false") is True:
        message = "background is not offered here, for nobody would see what the call uses: leave it out."
        raise Failure(400, "unsupported_parameter", message, param="background")


def _wants_usage(fields: Fields) -> bool:
    options = _read(fields, "stream_options", _decode_object, "an object")
    return isinstance(options, dict) and _read(options, "include_usage", _decode_flag, "true or false") is True


def _max_output(fields: Fields, operation: Operation) -> int | None:
    allowed: int | None = None
    for name in _OUTPUT_LIMITS.get(operation, ()):
        if name in fields:
            value = _bounded(fields, name, 0, _MAX_TOKENS)
            if value is not None:
                allowed = max(value, allowed or 0)  # which of two a provider heeds is not known
    return allowed


def _bounded(fields: Fields, name: str, least: int, most: int) -> int | None:
    value = _read(fields, name, _decode_integer, "an integer")
    if isinstance(value, int) and not least <= value <= most:
        raise Failure(400, "invalid_value", f"{name} must be between {least} and {most}.", param=name)
    return value if isinstance(value, int) else None


def _read(fields: Fields, name: str, decode: Callable[[msgspec.Raw], object], types: str) -> object:
    raw = fields.get(name)
    if raw is None:
        return None
    try:
        return decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _wrong_type(name, types) from None


def _wrong_type(name: str, types: str) -> Failure:
    return Failure(400, "invalid_type", f"Invalid type for {name}: expected {types}.", param=name)
