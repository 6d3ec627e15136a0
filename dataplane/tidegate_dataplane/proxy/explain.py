"""`/-/explain` and `tidegate explain`: from an operator's question to the decision that the proxy would obey.

The question names a consumer, whose identity is taken for granted; or it has the headers of a caller, and then the API
key in them says who calls. A key never appears in an answer.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from tidegate_dataplane.engine.assume import assume
from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.explain import Explanation, explain, explain_with_remedies
from tidegate_dataplane.engine.path import LISTING, parse_path, path_of
from tidegate_dataplane.engine.prove import CertificateProof, prove
from tidegate_dataplane.engine.remedies import MAX_EVALUATIONS
from tidegate_dataplane.engine.risk import UNSEEN, Observed
from tidegate_dataplane.ledger.learnt import DEFAULT_OUTPUT_TOKENS
from tidegate_dataplane.proxy.keys import presented_keys
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.objects import Identity
from tidegate_dataplane.snapshot.entries import Method, Operation

# On a data plane, callers wait while changes are tried out: mostly 2 ms, at worst about a tenth of a second.
REMEDY_EVALUATIONS = 100


class ExplainQuestion(Struct, forbid_unknown_fields=True, rename="camel"):
    """The body of POST /-/explain; only `model` is needed.

    `consumer` is "namespace/name", or "" for nobody in particular; `methods` say how it has proved itself (the first
    that it has a credential for, when empty), `claims` are those of its token. Without a consumer, `headers` with an
    API key or `certificate` (forms subject, uri, dns or fingerprint, with their values) say who calls.
    Give `path`, or `operation` (then the path is /v1's). `address` is the caller's, `peer` that of the connection;
    `proxy_headers` are those that a trusted proxy sent. `time` is RFC 3339, seconds since the epoch, or "now".
    """

    model: str
    consumer: str = ""
    methods: tuple[Method, ...] = ()
    claims: dict[str, object] = {}
    certificate: dict[str, str] = {}
    operation: Operation | None = None
    path: str = ""
    host: str = ""
    headers: dict[str, str] = {}
    address: str = ""
    peer: str = ""
    proxy_headers: dict[str, str] = {}
    body_bytes: int = 0
    time: float | str | None = None
    prompt_tokens: int = 1
    max_output_tokens: int = DEFAULT_OUTPUT_TOKENS
    remedies: bool = True


_decode = msgspec.json.Decoder(ExplainQuestion).decode


def explain_json(runtime: Runtime, body: bytes, observed: Observed = UNSEEN) -> Explanation:
    """Answer a question in JSON; `observed` is what the data plane has seen of callers.

    Raises ValueError (of which msgspec's errors are) that says what is wrong with it.
    """
    return answer(runtime, _decode(body), observed, evaluations=REMEDY_EVALUATIONS)


def answer(
    runtime: Runtime, question: ExplainQuestion, observed: Observed = UNSEEN, *, evaluations: int = MAX_EVALUATIONS
) -> Explanation:
    """The decision about the call that a question describes. Raises ValueError that says what is wrong with it."""
    now, call, identity = read_question(runtime, question)
    if not question.remedies:
        return explain(runtime, call, now, identity, observed)
    return explain_with_remedies(runtime, call, now, identity, observed, evaluations=evaluations)


def read_question(runtime: Runtime, question: ExplainQuestion) -> tuple[float, Call, Identity | None]:
    """When, what and who; without an identity, the call's own keys say who."""
    now = read_time(question.time)
    headers = {name.lower(): value for name, value in question.headers.items()}
    identity = _identity(runtime, question, presented=bool(presented_keys(headers).all))
    return now, _call(question, headers, keys=() if identity is not None else presented_keys(headers).all), identity


def read_time(value: float | str | None) -> float:
    """Seconds since the epoch. Raises ValueError."""
    if value is None or value == "now":
        return time.time()
    if not isinstance(value, str):
        return value
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"time {value!r} is no time: write it as 2026-07-01T12:00:00Z, or now") from None
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()


def _call(question: ExplainQuestion, headers: Mapping[str, str], *, keys: tuple[str, ...]) -> Call:
    base, operation = "/v1", question.operation or Operation.CHAT
    if operation is Operation.MODELS:
        raise ValueError("Models is asking which models there are, which is no call to one: ask for another operation")
    path = question.path
    if path:
        base, found = parse_path(path)
        if found is None or found is LISTING:
            raise ValueError(f"path {path!r} stands for no operation, such as /v1/chat/completions does")
        if question.operation not in (None, found):
            raise ValueError(f"path {path!r} stands for {found}, not for {question.operation}: give one of them")
        operation = found
    else:
        path = path_of(base, operation)
    return Call(
        host=question.host.lower(),
        path=path,
        base=base,
        operation=operation,
        model=question.model,
        headers=headers,
        address=question.address or question.peer,
        keys=keys,
        body_bytes=question.body_bytes,
        prompt_tokens=question.prompt_tokens,
        max_output_tokens=question.max_output_tokens,
        peer=question.peer or question.address,
        proxy_headers={name.lower(): value for name, value in question.proxy_headers.items()},
    )


def _identity(runtime: Runtime, question: ExplainQuestion, *, presented: bool) -> Identity | None:
    name = question.consumer
    if name:
        consumer = runtime.consumers.get(name)
        if consumer is None:
            raise ValueError(f"there is no consumer {name!r} in revision {runtime.revision}; write namespace/name")
        return assume(runtime, consumer, question.methods, question.claims)
    if question.certificate:
        found = prove(runtime, None, None, CertificateProof(tuple(question.certificate.items())))
        if not isinstance(found, Identity):
            raise ValueError(f"the certificate proves nobody: {found.message}")
        return found
    if presented:
        return None
    methods = question.methods or (() if question.claims else (Method.ANONYMOUS,))
    return assume(runtime, None, methods, question.claims)
