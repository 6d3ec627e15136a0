"""A backend that is reached over HTTP."""

from functools import lru_cache
from typing import Protocol

from tidegate_dataplane.providers.answer import Answer, Question, Unusable
from tidegate_dataplane.snapshot.entries import Operation
from tidegate_dataplane.upstream import Origin, UpstreamClient, encode_headers


class Dialect(Protocol):
    """Where in the provider's API an operation lives, and how the key is presented."""

    def target(self, operation: Operation, model: str) -> bytes | None:
        """Path and query to POST to; None when the provider does not know the operation."""

    def credential(self, key: bytes) -> tuple[bytes, bytes]:
        """The header that carries the key."""


class HttpConnector:
    """`connect_timeout` in seconds; `key` is None when the backend wants none."""

    def __init__(
        self, client: UpstreamClient, origin: Origin, dialect: Dialect, *, key: bytes | None, connect_timeout: float
    ) -> None:
        self._client = client
        self._origin = origin
        self._connect_timeout = connect_timeout
        fixed = [(b"content-type", b"application/json")]
        if key is not None:
            fixed.append(dialect.credential(key))
        self._fixed = encode_headers(fixed)
        self._target = lru_cache(maxsize=1024)(dialect.target)

    async def ask(self, question: Question, *, response_timeout: float) -> Answer:
        target = self._target(question.operation, question.model)
        if target is None:
            raise Unusable("operation_not_supported", f"this provider does not offer {question.operation}")
        return await self._client.request(
            self._origin,
            b"POST",
            target,
            self._fixed + question.headers,
            question.body,
            connect_timeout=min(self._connect_timeout, response_timeout),
            response_timeout=response_timeout,
        )
