"""The Mock's answers to Chat and Completion, whole and streamed. Pure.

Source of the shapes: OpenAI API reference, chat completion and completion objects and their chunks.
"""

from collections.abc import Iterator

from tidegate_dataplane.providers.mock_call import Json, MockCall, Rejected, arguments_of, words_of


def chat(call: MockCall) -> Json:
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


def chat_events(call: MockCall) -> Iterator[tuple[str, Json]]:
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


def completion(call: MockCall) -> Json:
    return {
        "id": f"cmpl-{call.id}",
        "object": "text_completion",
        "created": call.created,
        "model": call.model,
        "choices": [{"index": 0, "text": call.reply, "logprobs": None, "finish_reason": "stop"}],
        "usage": _usage(call),
    }


def completion_events(call: MockCall) -> Iterator[tuple[str, Json]]:
    head = {"id": f"cmpl-{call.id}", "object": "text_completion", "created": call.created, "model": call.model}
    pieces = words_of(call.reply)
    for number, piece in enumerate(pieces, 1):
        reason = "stop" if number == len(pieces) else None
        choice = {"index": 0, "text": piece, "logprobs": None, "finish_reason": reason}
        yield "", {**head, "choices": [choice]}
    if _wants_usage(call):
        yield "", {**head, "choices": [], "usage": _usage(call)}


def _usage(call: MockCall) -> Json:
    prompt, completion = call.usage
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _wants_usage(call: MockCall) -> bool:
    options = call.body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _tool_call(call: MockCall, tool: Json) -> Json:
    return {
        "id": f"call_{call.id}",
        "type": "function",
        "function": {"name": tool.get("name", ""), "arguments": arguments_of(tool)},
    }
