"""The few calls to the Kubernetes API that a data plane makes, over our own HTTP client.

Source of paths and semantics: Kubernetes API concepts (kubernetes.io/docs/reference/using-api/api-concepts).
"""

import ssl
import tempfile
from pathlib import Path
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from tidegate_dataplane.settings import ApiAccess
from tidegate_dataplane.upstream import Origin, UpstreamClient, UpstreamResponse

CONNECT_SECONDS = 5.0
RESPONSE_SECONDS = 15.0
MAX_OBJECT_BYTES = 4 * 1024 * 1024  # a ConfigMap holds 1 MiB, and base64 and managed fields come on top


class ApiRefused(Exception):
    """The API server answered with an error status; the message never holds the token."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the API server answered {status}: {message}")
        self.status = status


class _Status(Struct):
    message: str = ""


class ApiClient:
    """GETs and watches as the ServiceAccount (or user) of `access`. Belongs to one event loop."""

    def __init__(self, access: ApiAccess, client: UpstreamClient) -> None:
        self._access = access
        self._client = client
        self._ca = ""
        self._origin: Origin | None = None
        self._base = b""

    async def get(self, path: str, query: dict[str, str] | None = None) -> bytes:
        """Return the body. Raises ApiRefused, UpstreamError, OSError (token or CA file)."""
        response = await self._request(path, query)
        async with response:
            return await response.read(limit=MAX_OBJECT_BYTES, idle_timeout=RESPONSE_SECONDS)

    async def watch(self, path: str, query: dict[str, str]) -> UpstreamResponse:
        """Open a watch; its chunks are JSON lines. Close it. Raises as `get`."""
        return await self._request(path, {**query, "watch": "1"})

    async def _request(self, path: str, query: dict[str, str] | None) -> UpstreamResponse:
        origin = self._current_origin()
        target = self._base + path.encode("ascii") + (b"?" + urlencode(query).encode("ascii") if query else b"")
        headers = [(b"accept", b"application/json"), (b"user-agent", b"tidegate-dataplane")]
        token = self._token()
        if token:
            headers.append((b"authorization", b"Bearer " + token))
        response = await self._client.request(
            origin, b"GET", target, headers, connect_timeout=CONNECT_SECONDS, response_timeout=RESPONSE_SECONDS
        )
        if response.status != 200:
            async with response:
                body = await response.read(limit=64 * 1024, idle_timeout=RESPONSE_SECONDS)
            raise ApiRefused(response.status, _message(body))
        return response

    def _token(self) -> bytes:
        """The kubelet rotates a pod's token in its file, so the file is read for every call: there are few."""
        if self._access.token_file is not None:
            return self._access.token_file.read_bytes().strip()
        return self._access.token.encode("ascii")

    def _current_origin(self) -> Origin:
        access = self._access
        ca = access.ca_data if access.ca_file is None else access.ca_file.read_text("ascii")
        if self._origin is None or ca != self._ca:
            plain, self._base = Origin.from_url(access.url)
            tls = _tls(access, ca) if plain.scheme == "https" else None
            self._origin = Origin(plain.scheme, plain.host, plain.port, tls)
            self._ca = ca
        return self._origin


def _tls(access: ApiAccess, ca: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=ca or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if access.client_certificate:
        # OpenSSL reads certificates for its own side only from files.
        with tempfile.TemporaryDirectory() as directory:
            both = Path(directory) / "client.pem"
            both.touch(mode=0o600)
            both.write_bytes(access.client_certificate + b"\n" + access.client_key)
            context.load_cert_chain(both)
    return context


def _message(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Status).message or "(no message)"
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "(no message)"
