"""What a Mock backend says, in OpenAI's documented wire shapes: which answer goes with which operation. Pure.

Source of the shapes: OpenAI API reference (platform.openai.com/docs/api-reference), each operation's response object
and, for streams, its chunk object and events.
"""

import base64
import struct
from collections.abc import Iterator

from tidegate_dataplane.providers.mock_call import Json, MockCall, Rejected, text_of
from tidegate_dataplane.providers.mock_chat import chat, chat_events, completion, completion_events
from tidegate_dataplane.providers.mock_responses import response, response_events
from tidegate_dataplane.snapshot.entries import Operation

EMBEDDING_DIMENSIONS = 8
# The smallest valid picture: one transparent pixel.
_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="


def answer(call: MockCall) -> Json:
    """The whole answer. Raises Rejected."""
    match call.operation:
        case Operation.CHAT:
            return chat(call)
        case Operation.COMPLETION:
            return completion(call)
        case Operation.RESPONSES:
            return response(call, "completed")
        case Operation.EMBEDDINGS:
            return _embeddings(call)
        case Operation.IMAGE:
            return {"created": call.created, "data": [{"b64_json": _PIXEL}]}
        case Operation.MODERATION:
            return _moderation(call)
        case Operation.FINE_TUNE:
            return _fine_tuning_job(call)
        case Operation.MODELS:  # the gateway answers it by itself
            raise Rejected("model", "a provider is not asked which models there are")


def events(call: MockCall) -> Iterator[tuple[str, Json]]:
    """The events of a streamed answer, as (event name or "", data). Raises Rejected."""
    match call.operation:
        case Operation.CHAT:
            return chat_events(call)
        case Operation.COMPLETION:
            return completion_events(call)
        case Operation.RESPONSES:
            return response_events(call)
    raise Rejected("stream", f"{call.operation} does not stream")


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
            {"object": "embedding", "index": index, "embedding": _vector(text_of(text), encode=encode)}
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


def _fine_tuning_job(call: MockCall) -> Json:
    """A job that has just been taken; nothing is trained."""
    automatic = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}
    method = call.body.get("method") or {"type": "supervised", "supervised": {"hyperparameters": automatic}}
    return {
        "object": "fine_tuning.job",
        "id": f"ftjob-{call.id}",
        "model": call.model,
        "created_at": call.created,
        "status": "validating_files",
        "training_file": call.body["training_file"],
        "validation_file": call.body.get("validation_file"),
        "hyperparameters": call.body.get("hyperparameters") or automatic,
        "method": method,
        "seed": call.body.get("seed") or 0,
        "metadata": call.body.get("metadata"),
        "user_provided_suffix": call.body.get("suffix"),
        "integrations": call.body.get("integrations") or [],
        "organization_id": "org-mock",
        "fine_tuned_model": None,
        "finished_at": None,
        "estimated_finish": None,
        "trained_tokens": None,
        "result_files": [],
        "error": None,
    }
