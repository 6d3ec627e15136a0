"""Requests as the tests send them: a client with short timeouts, and only what the test is about spelled out."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from tidegate_dataplane.upstream import Origin, UpstreamClient, UpstreamResponse


@dataclass(frozen=True)
class Sender:
    client: UpstreamClient

    async def __call__(
        self,
        origin: Origin,
        method: bytes = b"POST",
        target: bytes = b"/v1/chat/completions",
        headers: Sequence[tuple[bytes, bytes]] | bytes = (),
        body: bytes | AsyncIterator[bytes] = b"{}",
        *,
        connect_timeout: float = 5.0,
        response_timeout: float = 5.0,
        idempotent: bool = False,
    ) -> UpstreamResponse:
        return await self.client.request(
            origin,
            method,
            target,
            headers,
            b"" if method in (b"GET", b"HEAD") else body,
            connect_timeout=connect_timeout,
            response_timeout=response_timeout,
            idempotent=idempotent,
        )
