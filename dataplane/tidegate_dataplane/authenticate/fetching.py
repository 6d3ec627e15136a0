"""Asking an identity provider over HTTP: bounded in time and size, redirects not followed, secrets not repeated."""

import asyncio
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from tidegate_dataplane.authenticate.json_object import NotAnObject, read_object
from tidegate_dataplane.authenticate.keys import MAX_SET_BYTES, KeySet, KeySetError, parse_key_set
from tidegate_dataplane.upstream import Origin, UpstreamClient, UpstreamError

FETCH_SECONDS: Final = 5.0
_DISCOVERY: Final = "/.well-known/openid-configuration"  # OpenID Connect Discovery 1.0, section 4
_METADATA: Final = "/.well-known/oauth-authorization-server"  # RFC 8414, section 3: before the issuer's path
_NOT_FOUND: Final = 404
_HEADERS: Final = ((b"accept", b"application/json"), (b"user-agent", b"tidegate"))

Headers = Sequence[tuple[bytes, bytes]]


class ProviderError(Exception):
    """The identity provider did not give what was asked for; the message says why and holds no secret."""


class KeySource(Struct, frozen=True):
    """Where keys come from: `uri`, or what discovery at `issuer` names. `ca_bundle` (PEM) replaces the system's."""

    issuer: str = ""
    uri: str = ""
    ca_bundle: str = ""

    @property
    def name(self) -> str:
        """What status and metrics call it."""
        return self.uri or self.issuer


async def fetch_keys(client: UpstreamClient, source: KeySource) -> KeySet:
    """Fetch the keys of a source, within FETCH_SECONDS. Raises ProviderError."""
    try:
        async with asyncio.timeout(FETCH_SECONDS):
            uri = source.uri or await _discover(client, source)
            text = await _get(client, uri, source.ca_bundle)
    except TimeoutError:
        raise ProviderError(f"no answer within {FETCH_SECONDS:g} s") from None
    try:
        return parse_key_set(text)
    except KeySetError as error:
        raise ProviderError(str(error)) from None


async def _discover(client: UpstreamClient, source: KeySource) -> str:
    issuer = source.issuer.rstrip("/")
    try:
        text = await _get(client, issuer + _DISCOVERY, source.ca_bundle)
    except _NotFound:
        parts = urlsplit(issuer)
        text = await _get(client, f"{parts.scheme}://{parts.netloc}{_METADATA}{parts.path}", source.ca_bundle)
    return read_discovery(text, source.issuer)


def read_discovery(text: bytes, issuer: str) -> str:
    """The address of the keys that a discovery document names. Raises ProviderError."""
    try:
        document = read_object(text)
    except NotAnObject as error:
        raise ProviderError(f"the discovery document is {error}") from None
    # OpenID Connect Discovery 1.0, section 4.3: else one provider could speak for another.
    if document.get("issuer") != issuer:
        raise ProviderError(f"the discovery document is for another issuer than {issuer}")
    uri = document.get("jwks_uri")
    if not isinstance(uri, str) or not uri:
        raise ProviderError("the discovery document has no jwks_uri")
    if issuer.startswith("https:") and not uri.startswith("https:"):
        raise ProviderError("the discovery document's jwks_uri is not https, though the issuer is")
    return uri


async def _get(client: UpstreamClient, url: str, ca_bundle: str) -> bytes:
    origin, target = await locate(url, ca_bundle)
    status, body = await exchange(client, origin, b"GET", target, _HEADERS, limit=MAX_SET_BYTES)
    if status == _NOT_FOUND:
        raise _NotFound(f"{url} answered 404")
    if status != 200:
        more = "; redirects are not followed, give the address that it leads to" if 300 <= status < 400 else ""
        raise ProviderError(f"{url} answered {status}{more}")
    return body


async def locate(url: str, ca_bundle: str) -> tuple[Origin, bytes]:
    """The origin and the request target of `url`, which may have a query. Raises ProviderError.

    Off the loop: reading the system's trust anchors takes tens of milliseconds.
    """
    place, _, query = url.partition("?")
    try:
        origin, path = await asyncio.to_thread(Origin.from_url, place, ca_data=ca_bundle or None)
        target = (path or b"/") + (b"?" + query.encode("ascii") if query else b"")
    except (ValueError, OSError) as error:
        raise ProviderError(f"it cannot be reached: {error}") from None
    # Origin.from_url leaves out a trailing slash, which an exact address may need.
    return origin, target + b"/" if place.endswith("/") and not query and target != b"/" else target


async def exchange(
    client: UpstreamClient,
    origin: Origin,
    method: bytes,
    target: bytes,
    headers: Headers,
    body: bytes = b"",
    *,
    limit: int,
) -> tuple[int, bytes]:
    """Status and body, at most `limit` bytes of it. The caller bounds the whole in time. Raises ProviderError."""
    try:
        response = await client.request(
            origin,
            method,
            target,
            headers,
            body,
            connect_timeout=FETCH_SECONDS,
            response_timeout=FETCH_SECONDS,
        )
        async with response:
            return response.status, await response.read(limit=limit, idle_timeout=FETCH_SECONDS)
    except UpstreamError as error:
        raise ProviderError(str(error)) from None
    except ValueError:
        raise ProviderError("its address cannot be put in a request") from None


class _NotFound(ProviderError):
    pass
