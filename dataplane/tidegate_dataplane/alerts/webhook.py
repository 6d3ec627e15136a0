"""Tells one receiver of one alert: a signed POST, bounded in time, redirects not followed.

The signature is `v1=` and the HMAC-SHA256 (RFC 2104), in hex, of the timestamp, a dot and the body, under the secret
that the Quota refers to. The address may hold a token of its own, so that only its origin is ever shown.
"""

import asyncio
import hmac
from collections.abc import Callable
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

import msgspec

from tidegate_dataplane.alerts.alert import Alert
from tidegate_dataplane.credentials import Credentials
from tidegate_dataplane.snapshot.entries import NotifyEntry
from tidegate_dataplane.upstream import Origin, UpstreamClient, UpstreamError

ATTEMPT_SECONDS: Final = 10.0
_CONNECT_SECONDS: Final = 5.0
_BODY_SECONDS: Final = 1.0
_MAX_ANSWER_BYTES: Final = 64 * 1024


class NotDelivered(Exception):
    """The receiver did not take it; the message says why, and holds neither secret nor address."""


class Webhook:
    """Calls receivers over the data plane's own client."""

    def __init__(self, client: UpstreamClient, credentials: Credentials, *, now: Callable[[], float]) -> None:
        self._client = client
        self._credentials = credentials
        self._now = now

    async def attempt(self, notify: NotifyEntry, alert: Alert) -> None:
        """Deliver once, within ATTEMPT_SECONDS; unsigned where no secret is declared. Raises NotDelivered."""
        body = msgspec.json.encode(alert)
        headers = self._headers(notify.credential, alert.id, body)
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                status = await self._post(notify, headers, body)
        except TimeoutError:
            raise NotDelivered(f"no answer within {ATTEMPT_SECONDS:g} s") from None
        if not 200 <= status < 300:
            more = "; redirects are not followed, give the address that it leads to" if 300 <= status < 400 else ""
            raise NotDelivered(f"answered {status}{more}")

    def _headers(self, credential: str, event: str, body: bytes) -> list[tuple[bytes, bytes]]:
        timestamp = b"%d" % self._now()
        headers = [
            (b"content-type", b"application/json"),
            (b"user-agent", b"tidegate"),
            (b"x-tidegate-event-id", event.encode("ascii")),
            (b"x-tidegate-timestamp", timestamp),
        ]
        if not credential:
            return headers
        secret = self._credentials.raw(credential)
        if secret is None:
            raise NotDelivered("the webhook's secret is missing in the credentials")
        return [*headers, (b"x-tidegate-signature", signature(secret, timestamp, body))]

    async def _post(self, notify: NotifyEntry, headers: list[tuple[bytes, bytes]], body: bytes) -> int:
        place, _, query = notify.url.partition("?")
        try:
            # Off the loop: reading the system's trust anchors takes tens of milliseconds.
            origin, path = await asyncio.to_thread(Origin.from_url, place, ca_data=notify.ca_bundle or None)
            target = _target(place, path, query)
        except (ValueError, OSError):
            raise NotDelivered("its address cannot be called: give one such as https://hooks.example.com/x") from None
        try:
            response = await self._client.request(
                origin,
                b"POST",
                target,
                headers,
                body,
                connect_timeout=_CONNECT_SECONDS,
                response_timeout=ATTEMPT_SECONDS,
                # Whoever gets it twice knows it by its id.
                idempotent=True,
            )
        except UpstreamError as error:
            raise NotDelivered(str(error)) from None
        except ValueError:
            raise NotDelivered("its address cannot be put in a request") from None
        async with response:
            try:
                # Read to its end, the connection serves the next alert; what it says is of no interest.
                await response.read(limit=_MAX_ANSWER_BYTES, idle_timeout=_BODY_SECONDS)
            except UpstreamError:
                pass
        return response.status


def signature(secret: bytes, timestamp: bytes, body: bytes) -> bytes:
    """The value of `x-tidegate-signature`."""
    return b"v1=" + hmac.new(secret, timestamp + b"." + body, sha256).hexdigest().encode("ascii")


def shown_origin(url: str) -> str:
    """What may be shown of an address: scheme, host and port."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or "?"
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return "?"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def _target(place: str, path: bytes, query: str) -> bytes:
    # Origin.from_url leaves out a trailing slash, which an exact address may need.
    slash = b"/" if place.endswith("/") or not path else b""
    return path + slash + (b"?" + query.encode("ascii") if query else b"")
