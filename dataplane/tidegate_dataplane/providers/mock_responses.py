"""The Mock's answers to Responses, whole and streamed. Pure.

Source of the shapes: OpenAI API reference, the response object and its streaming events.
"""

from collections.abc import Iterator

from tidegate_dataplane.providers.mock_call import Json, MockCall, arguments_of, words_of


def response(call: MockCall, status: str) -> Json:
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


def response_events(call: MockCall) -> Iterator[tuple[str, Json]]:
    for number, (name, data) in enumerate(_response_steps(call)):
        yield name, {"type": name, "sequence_number": number, **data}


def _response_steps(call: MockCall) -> Iterator[tuple[str, Json]]:
    item = {"item_id": f"msg_{call.id}", "output_index": 0, "content_index": 0}
    yield "response.created", {"response": response(call, "in_progress")}
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
        yield "response.function_call_arguments.delta", {**part, "delta": arguments_of(call.tool)}
        yield "response.function_call_arguments.done", {**part, "arguments": arguments_of(call.tool)}
    yield "response.output_item.done", {"output_index": 0, "item": _output_item(call, "completed")}
    yield "response.completed", {"response": response(call, "completed")}


def _output_item(call: MockCall, status: str) -> Json:
    tool = call.tool
    if tool is not None:
        return {
            "id": f"fc_{call.id}",
            "type": "function_call",
            "status": status,
            "call_id": f"call_{call.id}",
            "name": tool.get("name", ""),
            "arguments": arguments_of(tool),
        }
    text = {"type": "output_text", "text": call.reply, "annotations": []}
    content = [text] if status == "completed" else []
    return {"id": f"msg_{call.id}", "type": "message", "status": status, "role": "assistant", "content": content}
