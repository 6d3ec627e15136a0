"""`/-/explain`: from an operator's question to the decision that the proxy would obey.

The question names a consumer, never a key: its identity is taken for granted.
"""

import time

import msgspec
from msgspec import Struct

from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.explain import Explanation, explain
from tidegate_dataplane.engine.path import LISTING, parse_path
from tidegate_dataplane.proxy.usage import DEFAULT_OUTPUT_TOKENS
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.objects import NO_TOKEN, NOBODY, Identity
from tidegate_dataplane.snapshot.entries import Method, Operation


class ExplainQuestion(Struct, forbid_unknown_fields=True, rename="camel"):
    """The body of POST /-/explain. Give `path`, or `operation` (then the path is /v1's). `consumer` is
    "namespace/name", or "" for nobody; `time` in seconds since the epoch, now when absent."""

    model: str
    consumer: str = ""
    operation: Operation | None = None
    path: str = ""
    host: str = ""
    headers: dict[str, str] = {}
    address: str = ""
    time: float | None = None
    prompt_tokens: int = 1
    max_output_tokens: int = DEFAULT_OUTPUT_TOKENS


_decode = msgspec.json.Decoder(ExplainQuestion).decode


def explain_json(runtime: Runtime, body: bytes) -> Explanation:
    """Answer a question in JSON. Raises ValueError (of which msgspec's errors are) that says what is wrong with it."""
    question = _decode(body)
    now = time.time() if question.time is None else question.time
    base, operation = "/v1", question.operation or Operation.CHAT
    if question.path:
        base, found = parse_path(question.path)
        if found is None or found is LISTING:
            raise ValueError(f"path {question.path!r} stands for no operation, such as /v1/chat/completions does")
        operation = found
    call = Call(
        host=question.host.lower(),
        path=question.path,
        base=base,
        operation=operation,
        model=question.model,
        headers={name.lower(): value for name, value in question.headers.items()},
        address=question.address,
        prompt_tokens=question.prompt_tokens,
        max_output_tokens=question.max_output_tokens,
    )
    return explain(runtime, call, now, _identity(runtime, question.consumer))


def _identity(runtime: Runtime, name: str) -> Identity:
    if not name:
        return NOBODY
    consumer = runtime.consumers.get(name)
    if consumer is None:
        raise ValueError(f"there is no consumer {name!r} in revision {runtime.revision}; write namespace/name")
    return Identity(consumer, frozenset({Method.API_KEY}), token=NO_TOKEN)
