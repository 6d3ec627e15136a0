"""`/-/explain`: from an operator's question to the decision that the proxy would obey.

The question names a consumer, never a key. The very same decision needs one, so for this one question the consumer
gets a key that exists nowhere else.
"""

import time
from hashlib import sha256
from math import inf

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.explain import Explanation, explain
from tidegate_dataplane.engine.path import LISTING, parse_path
from tidegate_dataplane.proxy.usage import DEFAULT_OUTPUT_TOKENS
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.objects import Credential
from tidegate_dataplane.snapshot.entries import Operation

_KEY = "the consumer named in the question"


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
    if question.consumer:
        runtime = _with_key_for(runtime, question.consumer)
    call = Call(
        host=question.host.lower(),
        path=question.path,
        base=base,
        operation=operation,
        model=question.model,
        headers={name.lower(): value for name, value in question.headers.items()},
        address=question.address,
        keys=(_KEY,) if question.consumer else (),
        prompt_tokens=question.prompt_tokens,
        max_output_tokens=question.max_output_tokens,
    )
    return explain(runtime, call, now)


def _with_key_for(runtime: Runtime, name: str) -> Runtime:
    consumer = runtime.consumers.get(name)
    if consumer is None:
        raise ValueError(f"there is no consumer {name!r} in revision {runtime.revision}; write namespace/name")
    credential = Credential(name="", consumer=consumer, not_before=-inf, not_after=inf)
    # Plans and listings hold nothing of keys, so the copy may share them.
    return replace(runtime, credentials={sha256(_KEY.encode()).digest(): credential})
