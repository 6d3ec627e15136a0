"""One request and what is known of it so far: filled in from step to step, read once at the end for the accounts."""

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from enum import StrEnum
from itertools import count
from time import perf_counter, time
from typing import Any

from tidegate_dataplane.engine.decision import Decision
from tidegate_dataplane.errors import Failure, Refusal
from tidegate_dataplane.pressure.gate import Gate
from tidegate_dataplane.pricing.lookup import NO_PRICES, Prices
from tidegate_dataplane.pricing.price import Price
from tidegate_dataplane.pricing.usage import Usage
from tidegate_dataplane.proxy.intake import Prompt
from tidegate_dataplane.runtime import RuleRef, Target
from tidegate_dataplane.snapshot.entries import Operation
from tidegate_dataplane.transport.certificate import ClientCertificate
from tidegate_dataplane.transport.connections import NO_HEADERS, Connections
from tidegate_dataplane.transport.trust import Fault

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII).fullmatch
# Unique over processes by the prefix, within one by the number.
_PREFIX = secrets.token_hex(8)
_numbers = count(1)
CALLER_GONE_STATUS = 499  # what logs of proxies call it; never sent


class Outcome(StrEnum):
    """What became of a request."""

    SERVED = "Served"
    DENIED = "Denied"
    REJECTED = "Rejected"
    UPSTREAM_FAILED = "UpstreamFailed"
    CALLER_GONE = "CallerGone"
    FAILED = "Failed"


class Exchange:
    """`id` is ours and unique, for the ledger; `request_id` is shown, and the caller's own when that is sane.

    `peer` is the address at the other end of the connection and `address` the caller's, which differ behind trusted
    proxies; `proxy_headers` are the request's headers when one of those sent it. `certificate` is the caller's, by TLS
    or by such a proxy; with `certificate_fault` it showed one that does not hold.
    """

    # Defaults stand in the class: an instance holds only what its request came to.
    operation: Operation | None = None
    prompt: Prompt | None = None
    decision: Decision | None = None
    revision = 0
    rule: RuleRef | None = None
    why = ""
    target: Target | None = None
    tokens: Usage | None = None
    prices: Prices = NO_PRICES
    default_price: Price | None = None  # what a quota says where nobody knows the price
    fallback = ""  # the limit that sent the call to the fallback targets
    marks: tuple[tuple[bytes, bytes], ...] = ()  # headers of ours that the answer carries
    overage = 0  # micro-dollars that quotas book apart
    gate: Gate | None = None  # of the backend where the call holds a place
    holder = ""
    attempts = 0
    decided_seconds = 0.0
    upstream_seconds = 0.0
    bytes_in = 0
    bytes_out = 0
    streamed = False
    responding = False
    outcome = Outcome.SERVED
    status = 0
    code = ""
    certificate: ClientCertificate | None = None
    certificate_fault: Fault | None = None
    proxy_headers: Mapping[str, str] = NO_HEADERS

    def __init__(self, scope: Mapping[str, Any], send: Send, connections: Connections | None = None) -> None:
        self._send = send
        self.started = perf_counter()
        self.arrived = time()
        self.headers = headers = _read_headers(scope["headers"])
        self.id = f"{_PREFIX}{next(_numbers):016x}"
        given = headers.get("x-request-id")
        self.request_id = given if given is not None and _SANE_ID(given) else self.id
        client = scope.get("client")
        self.peer: str = client[0] if client else ""
        self.address = self.peer
        if connections is not None:
            caller = connections.describe(scope, headers, self.peer, self.arrived)
            self.address = caller.address
            self.certificate = caller.certificate
            self.certificate_fault = caller.fault
            self.proxy_headers = caller.proxy_headers
        raw_path = scope.get("raw_path")
        self.path: str = scope["path"] if raw_path is None else raw_path.decode("latin-1")
        self.host = _host(headers.get("host", ""))

    def leave(self) -> None:
        """Give the place at the backend back, if there is one."""
        gate, self.gate = self.gate, None
        if gate is not None:
            gate.give_back(self.holder)

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole response; `headers` without length and request id."""
        self.status = status
        self.responding = True
        self.bytes_out = len(body)
        headers.append((b"content-length", b"%d" % len(body)))
        headers += self.marks
        headers.append((b"x-request-id", self.request_id.encode("ascii")))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def begin(self, status: int, headers: Headers) -> None:
        """Send the head of a streamed response."""
        self.status = status
        self.responding = True
        self.streamed = True
        headers += self.marks
        headers.append((b"x-request-id", self.request_id.encode("ascii")))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    def mark(self, fallback: str, *, degraded: bool) -> None:
        """Let the answer tell that it comes from a fallback target, or that the shared store could not be asked."""
        self.fallback = fallback
        if fallback:
            self.marks += ((b"x-tidegate-fallback", fallback.encode("ascii", "replace")),)
        if degraded:
            self.marks += ((b"x-tidegate-quota-store", b"unavailable"),)

    async def write(self, chunk: bytes) -> None:
        """Send a part; waits while the caller does not take more."""
        self.bytes_out += len(chunk)
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def fail(self, failure: Failure) -> None:
        """Send an error, unless a response has begun."""
        self.code = failure.code
        if not self.responding:
            headers: Headers = [(b"content-type", b"application/json"), *failure.headers]
            await self.respond(failure.status, headers, failure.body())

    def gone(self, refusal: Refusal | None = None) -> None:
        """The caller closed the connection and may have got a part; or the HTTP layer refused the rest of its body."""
        if refusal is not None:
            self.outcome = Outcome.REJECTED
            self.code, self.status = refusal.failure.code, int(refusal.failure.status)
            self.request_id = refusal.request_id
            return
        self.outcome = Outcome.CALLER_GONE
        self.code = "caller_gone"
        self.status = CALLER_GONE_STATUS


def _read_headers(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
    if len(headers) != len(raw):
        # A list in several lines means the same as in one (RFC 9110, section 5.3).
        headers = {}
        for name, value in raw:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _host(value: str) -> str:
    """Lower case, without the port; an IPv6 address keeps its brackets."""
    host, colon, port = value.rpartition(":")
    if colon and port.isdecimal():
        value = host
    return value.lower()
