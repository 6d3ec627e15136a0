"""From a provider's answer to the caller's response: what passes, what is replaced, and how it is streamed.

Of the provider's headers only those on a list pass: not its cookies, not its organization's name, not the limits of a
key that many callers share.
"""

import logging
from http import HTTPStatus

import msgspec
from msgspec import Struct

from tidegate_dataplane.errors import API_ERROR, INVALID_REQUEST, Failure, encode_error
from tidegate_dataplane.providers.answer import Answer
from tidegate_dataplane.proxy.events import EventRelay, EventTooLarge
from tidegate_dataplane.proxy.exchange import Exchange, Headers, Outcome
from tidegate_dataplane.proxy.forward import upstream_broken
from tidegate_dataplane.proxy.intake import Prompt
from tidegate_dataplane.proxy.measuring import Measuring, at_once
from tidegate_dataplane.proxy.meter import NO_METER, Meter, MidStreamStop
from tidegate_dataplane.runtime import Route
from tidegate_dataplane.snapshot.entries import Operation
from tidegate_dataplane.upstream import ResponseTimeout, ResponseTooLarge, UpstreamError

_log = logging.getLogger(__name__)
_PASSED = frozenset(
    {
        b"content-type",
        b"content-encoding",
        b"content-language",
        b"openai-processing-ms",
        b"openai-version",
        b"retry-after",
        b"retry-after-ms",
    }
)
_EVENT_STREAM = b"text/event-stream"
_LIMIT = "rate_limit_error"
_MAX_ERROR_BYTES = 256 * 1024


class _ErrorShape(Struct):
    error: dict[str, msgspec.Raw]


class Relay:
    """Passes answers on. `response_bytes` bounds an answer that is not streamed."""

    def __init__(self, response_bytes: int, measuring: Measuring | None = None) -> None:
        self._limit = response_bytes
        self._measuring = measuring or Measuring()

    async def pass_on(
        self,
        exchange: Exchange,
        prompt: Prompt,
        operation: Operation,
        route: Route,
        answer: Answer,
        input: int,
        meter: Meter = NO_METER,
    ) -> None:
        """Answer the caller and note the tokens; `input` is the estimate of the prompt. Raises Failure before the
        first byte, and leaves the answer closed."""
        try:
            if not 200 <= answer.status < 300:
                await self._pass_error(exchange, route, answer)
                return
            if _content_type(answer).startswith(_EVENT_STREAM):
                meter.begin(input)
                await self._stream(exchange, prompt, operation, route, answer, input, meter)
            else:
                await self._whole(exchange, prompt, operation, route, answer, meter)
        finally:
            await answer.aclose()

    async def charge_prompt(self, exchange: Exchange, prompt: Prompt, operation: Operation) -> None:
        """Note the tokens of a call whose caller left before any answer came: a provider may have read the prompt."""
        if exchange.tokens is None and exchange.target is not None:
            exchange.tokens = await self._measuring.prompt(operation, prompt, _model(exchange, prompt))

    async def _whole(
        self, exchange: Exchange, prompt: Prompt, operation: Operation, route: Route, answer: Answer, meter: Meter
    ) -> None:
        body = await _read(answer, self._limit, route)
        exchange.tokens = await self._measuring.whole(operation, prompt, _model(exchange, prompt), body)
        meter.whole()
        await exchange.respond(answer.status, _passed(answer), body)

    async def _pass_error(self, exchange: Exchange, route: Route, answer: Answer) -> None:
        status = answer.status
        exchange.outcome = Outcome.UPSTREAM_FAILED
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            _log.error("the provider refused the credential of backend %s (%d)", _backend(exchange), status)
            raise Failure(
                502,
                "upstream_authentication",
                "The provider refused the gateway's own credential. Tell the owner of the backend.",
                type=API_ERROR,
            )
        if status < 400:
            raise Failure(
                502, "upstream_failed", f"The provider answered {status}, which is no answer.", type=API_ERROR
            )
        body = await _read(answer, _MAX_ERROR_BYTES, route)
        exchange.code = f"upstream_{status}"
        headers = _passed(answer)
        if not _has_error_shape(body):
            type = INVALID_REQUEST if status < 500 else API_ERROR
            body = encode_error(f"The provider answered {status}.", type=type, code="upstream_error")
            headers = [each for each in headers if each[0].startswith(b"retry-")]
            headers.append((b"content-type", b"application/json"))
        await exchange.respond(status, headers, body)

    async def _stream(
        self,
        exchange: Exchange,
        prompt: Prompt,
        operation: Operation,
        route: Route,
        answer: Answer,
        input: int,
        meter: Meter,
    ) -> None:
        events = EventRelay(hide_usage=not prompt.wants_usage and operation is not Operation.RESPONSES)
        model = _model(exchange, prompt)
        chunk = await _first_chunk(answer, route)
        await exchange.begin(answer.status, [*_passed(answer), (b"cache-control", b"no-cache")])
        try:
            stop = await self._pump(exchange, route, answer, events, meter, chunk, model)
            if stop is not None:
                # Before the caller hears of it: what the provider writes from now on nobody pays for.
                await answer.aclose()
                await _end_with_stop(exchange, operation, stop)
            await exchange.end()
        except (UpstreamError, EventTooLarge) as error:
            await self._end_with_error(exchange, operation, error)
            await exchange.end()
        finally:
            # Counting may take a moment and may be cut short by a shutdown: first what can be said at once.
            await answer.aclose()
            exchange.tokens = at_once(events, input)
            exchange.tokens = await self._measuring.stream(operation, prompt, model, events)

    async def _pump(
        self,
        exchange: Exchange,
        route: Route,
        answer: Answer,
        events: EventRelay,
        meter: Meter,
        chunk: bytes,
        model: str,
    ) -> MidStreamStop | None:
        """From the first chunk to the end, or to where a limit ends it."""
        idle, delivered = route.stream_idle_timeout, events.delivered
        ended = False
        while not ended:
            ended = not chunk
            ready = events.finish() if ended else events.feed(chunk)
            if ready:
                if not meter.deliver(events.fresh) and (stop := await meter.extend()) is not None:
                    return stop
                await exchange.write(ready)
                events.passed(ready)
                if delivered.is_long:
                    await self._measuring.counter.fold(delivered, model)
            if not ended:
                chunk = await answer.next_chunk(idle_timeout=idle)
        return None

    async def _end_with_error(self, exchange: Exchange, operation: Operation, error: Exception) -> None:
        """The status is sent already, so the stream itself must say that it is not whole."""
        exchange.outcome = Outcome.UPSTREAM_FAILED
        slow = isinstance(error, ResponseTimeout)
        exchange.code = "upstream_timeout" if slow else "upstream_failed"
        what = "fell silent" if slow else "broke off"
        message = f"The provider {what} in the middle of the answer. What came so far is not complete; retry."
        body = encode_error(message, type=API_ERROR, code=exchange.code)
        _log.warning("a stream of backend %s %s: %s", _backend(exchange), what, error)
        await exchange.write(_error_event(operation, body))


async def _end_with_stop(exchange: Exchange, operation: Operation, stop: MidStreamStop) -> None:
    exchange.outcome = Outcome.DENIED
    exchange.code = stop.code
    await exchange.write(_error_event(operation, encode_error(stop.message, type=_LIMIT, code=stop.code)))


def _error_event(operation: Operation, body: bytes) -> bytes:
    name = b"event: error\n" if operation is Operation.RESPONSES else b""
    return name + b"data: " + body + b"\n\n"


def _model(exchange: Exchange, prompt: Prompt) -> str:
    """As the provider was asked for it."""
    return prompt.model if exchange.target is None else exchange.target.model or prompt.model


async def _first_chunk(answer: Answer, route: Route) -> bytes:
    """Until it is here, an error can still be a status."""
    try:
        return await answer.next_chunk(idle_timeout=route.stream_idle_timeout)
    except UpstreamError as error:
        raise _lost(error) from error


async def _read(answer: Answer, limit: int, route: Route) -> bytes:
    try:
        return await answer.read(limit=limit, idle_timeout=route.stream_idle_timeout)
    except ResponseTooLarge:
        raise Failure(
            502, "upstream_response_too_large", f"The provider's answer exceeds {limit} bytes.", type=API_ERROR
        ) from None
    except UpstreamError as error:
        raise _lost(error) from error


def _lost(error: UpstreamError) -> Failure:
    if isinstance(error, ResponseTimeout):
        return Failure(504, "upstream_timeout", "The provider fell silent in its answer. Retry.", type=API_ERROR)
    return upstream_broken()


def _passed(answer: Answer) -> Headers:
    return [header for header in answer.headers if header[0] in _PASSED]


def _content_type(answer: Answer) -> bytes:
    for name, value in answer.headers:
        if name == b"content-type":
            return value.lower()
    return b""


def _has_error_shape(body: bytes) -> bool:
    try:
        msgspec.json.decode(body, type=_ErrorShape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _backend(exchange: Exchange) -> str:
    return "" if exchange.target is None else exchange.target.backend.key
