"""What a Mock backend says, in OpenAI's documented wire shapes. Pure.

Source of the shapes: OpenAI API reference (platform.openai.com/docs/api-reference), each operation's response object
and, for streams, its chunk object and events.
"""

import base64
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tidegate_dataplane.snapshot.entries import Operation

BYTES_PER_TOKEN = 4
EMBEDDING_DIMENSIONS = 8
# The smallest valid picture: one transparent pixel.
_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="

Json = dict[str, Any]


class Rejected(ValueError):
    """The request is one that a provider would refuse with 400; `param` names the field."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class MockCall:
    """One request to the Mock: its parsed body, the text it answers, and identifiers."""

    operation: Operation
    body: Mapping[str, Any]
    reply: str
    id: str
    created: int

    @property
    def model(self) -> str:
        return str(self.body["model"])

    @property
    def usage(self) -> tuple[int, int]:
        """Input and output tokens, one for each begun BYTES_PER_TOKEN of text."""
        asked = self.body.get("messages", self.body.get("input", self.body.get("prompt", "")))
        tool = self.tool
        return tokens_of(_text(asked)), tokens_of(self.reply if tool is None else _arguments(tool))

    @property
    def tool(self) -> Json | None:
        """The function that must be called, when the caller requires one."""
        tools = self.body.get("tools")
        choice = self.body.get("tool_choice")
        if not isinstance(tools, list) or not tools or choice in (None, "none", "auto"):
            return None
        functions = [_function(tool) for tool in tools]
        if isinstance(choice, dict):
            name = _function(choice).get("name")
            functions = [each for each in functions if each.get("name") == name]
            if not functions:
                raise Rejected("tool_choice", f"tool_choice names {name!r}, which is not in tools")
        return functions[0]


def tokens_of(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def answer(call: MockCall) -> Json:
    """The whole answer. Raises Rejected."""
    match call.operation:
        case Operation.CHAT:
            return _chat(call)
        case Operation.COMPLETION:
            return _completion(call)
        case Operation.RESPONSES:
            return _response(call, "completed")
        case Operation.EMBEDDINGS:
            return _embeddings(call)
        case Operation.IMAGE:
            return {"created": call.created, "data": [{"b64_json": _PIXEL}]}
        case Operation.MODERATION:
            return _moderation(call)


def events(call: MockCall) -> Iterator[tuple[str, Json]]:
    """The events of a streamed answer, as (event name or "", data). Raises Rejected."""
    match call.operation:
        case Operation.CHAT:
            return _chat_events(call)
        case Operation.COMPLETION:
            return _completion_events(call)
        case Operation.RESPONSES:
            return _response_events(call)
    raise Rejected("stream", f"{call.operation} does not stream")


def words_of(reply: str) -> list[str]:
    """The reply in pieces that join to it again, as a model would stream it."""
    words = reply.split(" ")
    return [*(f"{word} " for word in words[:-1]), words[-1]]


def _usage(call: MockCall) -> Json:
    prompt, completion = call.usage
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _wants_usage(call: MockCall) -> bool:
    options = call.body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _chat(call: MockCall) -> Json:
    messages = call.body.get("messages")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise Rejected("messages", "messages must be an array of objects")
    tool = call.tool
    message: Json = {"role": "assistant", "content": call.reply, "refusal": None, "annotations": []}
    if tool is not None:
        message |= {"content": None, "tool_calls": [_tool_call(call, tool)]}
    reason = "stop" if tool is None else "tool_calls"
    return {
        "id": f"chatcmpl-{call.id}",
        "object": "chat.completion",
        "created": call.created,
        "model": call.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
        "usage": _usage(call),
    }


def _chat_events(call: MockCall) -> Iterator[tuple[str, Json]]:
    head = {
        "id": f"chatcmpl-{call.id}",
        "object": "chat.completion.chunk",
        "created": call.created,
        "model": call.model,
    }
    if _wants_usage(call):
        head["usage"] = None

    def chunk(delta: Json, reason: str | None = None) -> tuple[str, Json]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return "", {**head, "choices": [choice]}

    tool = call.tool
    if tool is None:
        yield chunk({"role": "assistant", "content": ""})
        for word in words_of(call.reply):
            yield chunk({"content": word})
        yield chunk({}, "stop")
    else:
        begun = _tool_call(call, tool)
        arguments = begun["function"]["arguments"]
        begun["function"] = {**begun["function"], "arguments": ""}
        yield chunk({"role": "assistant", "content": None, "tool_calls": [{"index": 0, **begun}]})
        yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]})
        yield chunk({}, "tool_calls")
    if _wants_usage(call):
        yield "", {**head, "choices": [], "usage": _usage(call)}


def _completion(call: MockCall) -> Json:
    return {
        "id": f"cmpl-{call.id}",
        "object": "text_completion",
        "created": call.created,
        "model": call.model,
        "choices": [{"index": 0, "text": call.reply, "logprobs": None, "finish_reason": "stop"}],
        "usage": _usage(call),
    }


def _completion_events(call: MockCall) -> Iterator[tuple[str, Json]]:
    head = {"id": f"cmpl-{call.id}", "object": "text_completion", "created": call.created, "model": call.model}
    pieces = words_of(call.reply)
    for number, piece in enumerate(pieces, 1):
        reason = "stop" if number == len(pieces) else None
        choice = {"index": 0, "text": piece, "logprobs": None, "finish_reason": reason}
        yield "", {**head, "choices": [choice]}
    if _wants_usage(call):
        yield "", {**head, "choices": [], "usage": _usage(call)}


def _response(call: MockCall, status: str) -> Json:
    prompt, completion = call.usage
    usage = {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + completion,
    }
    done = status == "completed"
    return {
        "id": f"resp_{call.id}",
        "object": "response",
        "created_at": call.created,
        "status": status,
        "model": call.model,
        "output": [_output_item(call, status)] if done else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "usage": usage if done else None,
    }


def _output_item(call: MockCall, status: str) -> Json:
    tool = call.tool
    if tool is not None:
        return {
            "id": f"fc_{call.id}",
            "type": "function_call",
            "status": status,
            "call_id": f"call_{call.id}",
            "name": tool.get("name", ""),
            "arguments": _arguments(tool),
        }
    text = {"type": "output_text", "text": call.reply, "annotations": []}
    content = [text] if status == "completed" else []
    return {"id": f"msg_{call.id}", "type": "message", "status": status, "role": "assistant", "content": content}


def _response_events(call: MockCall) -> Iterator[tuple[str, Json]]:
    for number, (name, data) in enumerate(_response_steps(call)):
        yield name, {"type": name, "sequence_number": number, **data}


def _response_steps(call: MockCall) -> Iterator[tuple[str, Json]]:
    item = {"item_id": f"msg_{call.id}", "output_index": 0, "content_index": 0}
    yield "response.created", {"response": _response(call, "in_progress")}
    yield "response.output_item.added", {"output_index": 0, "item": _output_item(call, "in_progress")}
    if call.tool is None:
        empty = {"type": "output_text", "text": "", "annotations": []}
        yield "response.content_part.added", {**item, "part": empty}
        for word in words_of(call.reply):
            yield "response.output_text.delta", {**item, "delta": word, "logprobs": []}
        yield "response.output_text.done", {**item, "text": call.reply, "logprobs": []}
        yield "response.content_part.done", {**item, "part": {**empty, "text": call.reply}}
    else:
        part = {"item_id": f"fc_{call.id}", "output_index": 0}
        yield "response.function_call_arguments.delta", {**part, "delta": _arguments(call.tool)}
        yield "response.function_call_arguments.done", {**part, "arguments": _arguments(call.tool)}
    yield "response.output_item.done", {"output_index": 0, "item": _output_item(call, "completed")}
    yield "response.completed", {"response": _response(call, "completed")}


def _embeddings(call: MockCall) -> Json:
    asked = call.body.get("input")
    # A list of numbers is one text in tokens; any other list is several texts.
    many = isinstance(asked, list) and not all(isinstance(each, int) for each in asked)
    texts = asked if many and isinstance(asked, list) else [asked]
    encode = call.body.get("encoding_format") == "base64"
    prompt, _ = call.usage
    return {
        "object": "list",
        "model": call.model,
        "data": [
            {"object": "embedding", "index": index, "embedding": _vector(_text(text), encode=encode)}
            for index, text in enumerate(texts)
        ],
        "usage": {"prompt_tokens": prompt, "total_tokens": prompt},
    }


def _vector(text: str, *, encode: bool) -> list[float] | str:
    """A unit vector that depends on the text alone."""
    sums = [1.0] * EMBEDDING_DIMENSIONS
    for position, byte in enumerate(text.encode()):
        sums[position % EMBEDDING_DIMENSIONS] += byte
    length = sum(each * each for each in sums) ** 0.5
    vector = [each / length for each in sums]
    if encode:
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
    return vector


def _moderation(call: MockCall) -> Json:
    categories = ("harassment", "hate", "self-harm", "sexual", "violence")
    asked = call.body.get("input")
    count = len(asked) if isinstance(asked, list) else 1
    result = {
        "flagged": False,
        "categories": dict.fromkeys(categories, False),
        "category_scores": dict.fromkeys(categories, 0.0),
    }
    return {"id": f"modr-{call.id}", "model": call.model, "results": [result] * count}


def _tool_call(call: MockCall, tool: Json) -> Json:
    return {
        "id": f"call_{call.id}",
        "type": "function",
        "function": {"name": tool.get("name", ""), "arguments": _arguments(tool)},
    }


def _function(tool: Any) -> Json:
    """Chat nests the function's name under `function`, Responses does not."""
    if not isinstance(tool, dict):
        return {}
    nested = tool.get("function")
    return nested if isinstance(nested, dict) else tool


def _arguments(_tool: Json) -> str:
    return "{}"


def _text(value: Any) -> str:
    """All text in a prompt, messages or input, whatever its nesting."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return " ".join(_text(each) for each in value)
    if isinstance(value, dict):
        return _text(value.get("content", value.get("text", "")))
    return "" if value is None else str(value)
