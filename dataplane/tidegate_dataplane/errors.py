"""Errors of our own making, in the shape that OpenAI's clients read.

Source of the shape and the types: the OpenAI API reference, "Errors" (platform.openai.com/docs/guides/error-codes).
"""

from http import HTTPStatus
from typing import NamedTuple

import msgspec
from msgspec import Struct

INVALID_REQUEST = "invalid_request_error"
API_ERROR = "api_error"
REFUSAL = "tidegate.refusal"  # in the scope: a Refusal, when the HTTP layer answered before the application did


class Failure(Exception):
    """A request that ends here with an error. Messages say what to do next, and never hold a key."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        type: str = INVALID_REQUEST,
        param: str | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.type = type
        self.param = param
        self.headers = headers

    def body(self) -> bytes:
        """The JSON to answer with."""
        return encode_error(self.message, type=self.type, code=self.code, param=self.param)


class Refusal(NamedTuple):
    """A request that the HTTP layer refused by itself, and what is known of it; `path` is without the query."""

    failure: Failure
    request_id: str
    address: str
    host: str
    path: str


class _Detail(Struct, frozen=True):
    message: str
    type: str
    code: str | None
    param: str | None


class _Body(Struct, frozen=True):
    error: _Detail


_encode = msgspec.json.Encoder().encode


def encode_error(message: str, *, type: str, code: str | None, param: str | None = None) -> bytes:
    """`{"error": {"message", "type", "code", "param"}}`."""
    return _encode(_Body(_Detail(message, type, code, param)))


# What the HTTP layer itself refuses, before any request exists.


def malformed_http() -> Failure:
    return Failure(
        HTTPStatus.BAD_REQUEST,
        "malformed_request",
        "This is not valid HTTP/1.1. Check the client or the proxy before it.",
    )


def head_too_large(limit: int, count: int) -> Failure:
    return Failure(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "headers_too_large",
        f"The request's headers exceed {limit} bytes or {count} lines. Send fewer or shorter headers.",
    )


def head_too_slow(seconds: float) -> Failure:
    return Failure(
        HTTPStatus.REQUEST_TIMEOUT, "request_timeout", f"The request's headers did not arrive within {seconds:g} s."
    )


def body_too_large(limit: int) -> Failure:
    return Failure(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "request_too_large",
        f"The request body exceeds {limit} bytes. Send less, for example by splitting the input.",
    )


def body_too_slow(seconds: float) -> Failure:
    return Failure(
        HTTPStatus.REQUEST_TIMEOUT, "request_timeout", f"The request body did not arrive within {seconds:g} s."
    )


def overloaded() -> Failure:
    """Too many callers who have not proved who they are send large bodies at once."""
    return Failure(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "overloaded",
        "Too many large requests without a known credential arrive at once. Retry, with an API key if you have one.",
        type=API_ERROR,
        headers=((b"retry-after", b"5"),),
    )


def audit_unavailable() -> Failure:
    """Calls are refused while they could not be audited, where the gateway was told so."""
    return Failure(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "audit_unavailable",
        "The gateway cannot write its audit log and serves no calls until it can. Retry later.",
        type=API_ERROR,
        headers=((b"retry-after", b"5"),),
    )


def internal() -> Failure:
    return Failure(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal_error",
        "The gateway failed on this request. Its log says why under this x-request-id.",
        type=API_ERROR,
    )


def client_certificate_refused() -> Failure:
    """The same words whatever is wrong with it; the gateway's metrics and status tell its operator more."""
    return Failure(
        HTTPStatus.UNAUTHORIZED,
        "invalid_client_certificate",
        "The client certificate is not valid any more: connect again with a current one.",
        type="authentication_error",
    )
