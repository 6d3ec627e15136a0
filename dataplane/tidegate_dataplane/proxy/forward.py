"""Asking the targets of a route, one after another, until one answers.

Repeated is only what is safe. An inference call costs money each time, so it goes to another target only when nothing
was sent (no connection), or when a provider answered that it did not do it (429, 5xx). A connection that is lost
after the request was sent, and a timeout, prove nothing: they end the request. All of this happens before the first
byte goes to the caller.

A backend may have a limit of calls at once. A place there is held until the answer is over. One that has none goes to
another target of the same tier that has; where all are full, the call waits for the first, and the rest comes last.
"""

import asyncio
from time import perf_counter

import msgspec
from msgspec import Struct

from tidegate_dataplane.errors import API_ERROR, Failure
from tidegate_dataplane.metrics import Metrics
from tidegate_dataplane.pressure.gate import Shed, ShedReason
from tidegate_dataplane.pressure.gates import Gates
from tidegate_dataplane.providers.answer import Answer, Unusable
from tidegate_dataplane.providers.connectors import Connectors
from tidegate_dataplane.proxy.exchange import Exchange
from tidegate_dataplane.proxy.intake import Prompt
from tidegate_dataplane.proxy.shedding import Shedding
from tidegate_dataplane.runtime import Route, Target
from tidegate_dataplane.settings import Pressure
from tidegate_dataplane.snapshot.entries import Operation, Priority, RetryOn
from tidegate_dataplane.upstream import ConnectFailed, ConnectTimeout, ResponseTimeout, UpstreamError, encode_headers

# What of a caller's headers a provider may see. Never its credentials, cookies or addresses, nor what would choose an
# organization or project under our key.
_FORWARDED = ("accept", "user-agent", "openai-beta", "traceparent", "tracestate")
_PAUSE_SECONDS = 0.05
_DRAIN_BYTES = 64 * 1024
_DRAIN_SECONDS = 1.0
_STREAMS_USAGE = frozenset({Operation.CHAT, Operation.COMPLETION})

_encode = msgspec.json.Encoder().encode
_INCLUDE_USAGE = msgspec.Raw(b'{"include_usage":true}')
_decode_options = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode


class Question(Struct, gc=False):
    """What goes to a provider."""

    operation: Operation
    body: bytes
    model: str
    headers: bytes


class Forwarder:
    """Asks backends. `ask` returns the answer to pass on, or raises Failure."""

    def __init__(
        self, connectors: Connectors, metrics: Metrics, gates: Gates | None = None, shedding: Shedding | None = None
    ) -> None:
        self._connectors = connectors
        self._gates = gates or Gates(Pressure())
        self._shedding = shedding or Shedding()
        self._count = metrics.attempts.add

    async def ask(
        self, exchange: Exchange, prompt: Prompt, operation: Operation, route: Route, order: tuple[Target, ...]
    ) -> Answer:
        """Try targets in this order, within the route's timeout and number of attempts."""
        retry_on = route.entry.retry_on
        decision = exchange.decision
        last = route.entry.retry_attempts
        started = perf_counter()
        question = _question(exchange, prompt, operation)
        consumer = None if decision is None else decision.consumer
        holder = exchange.holder = (consumer.key if consumer is not None else "") or exchange.address
        try:
            for number in range(last + 1):
                target = order[number % len(order)]
                exchange.leave()
                if number >= len(order):
                    await asyncio.sleep(_PAUSE_SECONDS * number)
                remaining = route.timeout - (perf_counter() - started)
                if remaining <= 0:
                    break
                gate = self._gates.of(target.backend)
                if gate.take(holder):
                    exchange.gate = gate
                else:
                    target = await self._place(exchange, order, number, remaining)
                    remaining = route.timeout - (perf_counter() - started)
                try:
                    answer = await self._attempt(exchange, question, prompt, target, remaining)
                except (ConnectFailed, ConnectTimeout, Unusable) as error:
                    if number == last or RetryOn.CONNECT not in retry_on:
                        raise _failure(error) from error
                    continue
                except UpstreamError as error:
                    if error.sent or number == last or RetryOn.CONNECT not in retry_on:
                        raise _failure(error) from error
                    continue
                if number == last or not _worth_repeating(answer.status, retry_on):
                    return answer
                await _drain(answer)
            raise _timed_out()
        finally:
            exchange.upstream_seconds = perf_counter() - started

    async def _place(self, exchange: Exchange, order: tuple[Target, ...], number: int, longest: float) -> Target:
        """The target whose turn it is has no room: one that has it now, at once or after waiting. Nothing was sent, so
        this is no attempt. Raises Failure."""
        first = number % len(order)
        asked = order[first:] + order[:first]
        gates = [self._gates.of(target.backend) for target in asked]
        holder, priority = exchange.holder, _priority(exchange)
        for target, gate in zip(asked, gates, strict=True):
            if target.priority == asked[0].priority and gate.take(holder):
                exchange.gate = gate
                return target
        deadline = perf_counter() + min(longest, self._gates.longest_wait(priority))
        refused: Shed | None = None
        for target, gate in zip(asked, gates, strict=True):
            if not gate.take(holder):
                left = deadline - perf_counter()
                if left <= 0:
                    continue
                try:
                    await gate.wait(holder, priority, left)
                except Shed as shed:
                    refused = refused or shed
                    continue
            exchange.gate = gate
            return target
        raise self._shedding.by_backend(refused or Shed(ShedReason.FULL, priority))

    async def _attempt(
        self, exchange: Exchange, question: Question, prompt: Prompt, target: Target, remaining: float
    ) -> Answer:
        exchange.attempts += 1
        exchange.target = target
        model = target.model or prompt.model
        if model != question.model or not question.body:
            if model != prompt.model:
                prompt.fields["model"] = msgspec.Raw(_encode(model))
            question.model = model
            question.body = _encode(prompt.fields)
        key = target.backend.key
        began = perf_counter()
        try:
            answer = await self._connectors.of(target.backend.entry).ask(question, response_timeout=remaining)
        except (UpstreamError, Unusable) as error:
            self._count((key, type(error).__name__))
            if isinstance(error, ResponseTimeout | ConnectTimeout) and exchange.gate is not None:
                exchange.gate.overloaded(perf_counter())
            raise
        except asyncio.CancelledError:
            if exchange.gate is not None:
                exchange.gate.abandoned((question.operation, model, prompt.streamed), began, perf_counter())
            raise
        self._count((key, _CLASSES[answer.status // 100]))
        gate = exchange.gate
        if gate is not None and gate.adaptive is not None:
            if answer.status in _OVERLOAD:
                gate.overloaded(perf_counter())
            elif answer.status < 300:
                gate.answered((question.operation, model, prompt.streamed), began, perf_counter())
        return answer


# What a provider says when it has too much to do; 529 is Anthropic's own.
_OVERLOAD = frozenset({429, 503, 529})
_CLASSES = ("0xx", "1xx", "2xx", "3xx", "4xx", "5xx")


def _priority(exchange: Exchange) -> Priority:
    consumer = None if exchange.decision is None else exchange.decision.consumer
    return Priority.NORMAL if consumer is None else consumer.entry.priority


def _question(exchange: Exchange, prompt: Prompt, operation: Operation) -> Question:
    headers = exchange.headers
    forwarded = [(name.encode("ascii"), headers[name].encode("latin-1")) for name in _FORWARDED if name in headers]
    block = b"x-request-id: %b\r\n" % exchange.request_id.encode("ascii")
    if forwarded:
        block += encode_headers(forwarded)
    if prompt.streamed and operation in _STREAMS_USAGE and not prompt.wants_usage:
        options = _decode_options(prompt.fields["stream_options"]) if "stream_options" in prompt.fields else None
        wanted = {**(options or {}), "include_usage": msgspec.Raw(b"true")}
        prompt.fields["stream_options"] = msgspec.Raw(_encode(wanted)) if options else _INCLUDE_USAGE
    return Question(operation, b"", "", block)


def _worth_repeating(status: int, retry_on: tuple[RetryOn, ...]) -> bool:
    if status == 429:
        return RetryOn.TOO_MANY_REQUESTS in retry_on
    return status >= 500 and RetryOn.SERVER_ERROR in retry_on


async def _drain(answer: Answer) -> None:
    """Read a small body, so that its connection can be used again; a large or slow one costs the connection."""
    try:
        await answer.read(limit=_DRAIN_BYTES, idle_timeout=_DRAIN_SECONDS)
    except UpstreamError:
        pass
    finally:
        await answer.aclose()


def _failure(error: UpstreamError | Unusable) -> Failure:
    """In words that tell a caller what to do and nothing about where the provider lives."""
    match error:
        case Unusable():
            return Failure(502, error.code, f"The provider cannot be used: {error}.", type=API_ERROR)
        case ResponseTimeout():
            return _timed_out()
        case ConnectTimeout():
            return Failure(504, "upstream_timeout", "No connection to the provider in time. Retry.", type=API_ERROR)
        case ConnectFailed():
            return Failure(502, "upstream_unreachable", "The provider cannot be reached. Retry later.", type=API_ERROR)
    return upstream_broken()


def _timed_out() -> Failure:
    return Failure(
        504,
        "upstream_timeout",
        "The provider did not answer within the route's timeout. Retry, ask for less output, or use stream: true.",
        type=API_ERROR,
    )


def upstream_broken() -> Failure:
    """The provider may have done the work, but its answer is lost."""
    return Failure(
        502,
        "upstream_failed",
        "The provider's answer broke off. The call may have been counted there; retry if that is acceptable.",
        type=API_ERROR,
    )
